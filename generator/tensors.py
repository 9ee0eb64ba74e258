"""Tensors of messages to arrays and back."""

from typing import Any

import numpy as np
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.embeddings import FloatArray
from servicekit.errors import InvalidArgument

_TYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
}


def from_pb(tensor: pb.Tensor, field: str, encoder: str, model: str) -> FloatArray:
    """Returns the float32 array. Shape and finiteness are the engine's to check.

    Raises InvalidArgument if another encoder made it, naming both, or if bytes and shape differ.
    """
    if tensor.encoder != encoder:
        raise InvalidArgument(
            f"the embedding is of the encoder {tensor.encoder!r}; model {model!r} uses "
            f"{encoder or 'none'!r}",
            field=f"{field}.encoder",
            reason="ENCODER_MISMATCH",
            metadata={"given": tensor.encoder, "expected": encoder},
        )
    kind = _TYPES[tensor.data_type]
    expected = int(np.prod(tensor.shape, dtype=np.int64)) * kind.itemsize
    if len(tensor.data) != expected:
        raise InvalidArgument(
            f"the tensor has {len(tensor.data)} bytes; the shape {list(tensor.shape)} of "
            f"{kind.name} needs {expected}",
            field=f"{field}.data",
            reason="WRONG_SIZE",
        )
    values = np.frombuffer(tensor.data, dtype=kind).reshape(tuple(tensor.shape))
    return values.astype(np.float32)


def to_pb(values: FloatArray, encoder: str) -> pb.Tensor:
    """Returns the float32 message of an array."""
    return pb.Tensor(
        data=np.ascontiguousarray(values, dtype="<f4").tobytes(),
        shape=values.shape,
        data_type=pb.DATA_TYPE_FLOAT32,
        encoder=encoder,
    )
