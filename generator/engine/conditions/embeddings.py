"""What conditions that hold embeddings have in common."""

import hashlib
from typing import Any

import numpy as np

from diffusion.embeddings import FloatArray
from diffusion.errors import BadCondition


def check_embedding(
    field: str, values: FloatArray, shape: tuple[int, ...], encoder: str, model: str
) -> None:
    """Raises BadCondition unless `values` has the shape of the encoder and is finite."""
    if values.shape != shape:
        raise BadCondition(
            field,
            "WRONG_SHAPE",
            f"the embedding has the shape {list(values.shape)}; {encoder}, the encoder of model "
            f"{model!r}, makes {list(shape)}",
        )
    if not bool(np.isfinite(values).all()):
        raise BadCondition(
            field, "NOT_FINITE", "the embedding holds values that are NaN or infinite"
        )


def array_identity(values: FloatArray) -> dict[str, Any]:
    """Returns what stands for an array in the key of an image."""
    data = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return {"embedding": hashlib.sha256(data).hexdigest(), "shape": list(values.shape)}
