"""What was predicted of the test images, as the store keeps it."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Of the worker's folder: the test images in their order, and what was predicted of them (see
# `jobs.classify`).
TESTED, _PREDICTED = "tested.parquet", "predictions.npz"


def predictions(folder: Path, class_names: tuple[str, ...]) -> bytes:
    """The parquet file of a run's predictions, of what a worker left in its folder."""
    tested, predicted = pq.read_table(folder / TESTED), np.load(folder / _PREDICTED)
    names = pa.array(class_names, pa.string()).take(pa.array(predicted["labels"]))
    table = tested.append_column("predicted_class_name", names).append_column(
        "confidence", pa.array(predicted["confidences"], pa.float32())
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
