"""What a finished run leaves besides its figures: weights, card and predictions, as files."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.preparation import TESTED
from trainer.runs import RunSpec

# Of a worker's folder and of the store.
WEIGHTS, CARD, PREDICTIONS = "weights.safetensors", "card.json", "predictions.parquet"
# Only of the worker's folder (see `jobs.classify`).
_PREDICTED = "predictions.npz"


def artefacts(spec: RunSpec) -> dict[str, bytes]:
    """The files of a run whose worker is done, by name."""
    folder = Path(spec.folder)
    card = json.dumps(spec.card(), indent=1, sort_keys=True, ensure_ascii=False)
    return {
        WEIGHTS: (folder / WEIGHTS).read_bytes(),
        CARD: f"{card}\n".encode(),
        PREDICTIONS: _predictions(folder, spec.class_names),
    }


def _predictions(folder: Path, class_names: tuple[str, ...]) -> bytes:
    tested, predicted = pq.read_table(folder / TESTED), np.load(folder / _PREDICTED)
    names = pa.array(class_names, pa.string()).take(pa.array(predicted["labels"]))
    table = tested.append_column("predicted_class_name", names).append_column(
        "confidence", pa.array(predicted["confidences"], pa.float32())
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
