"""What `train --out` keeps of each run: the classifier, its metrics, predictions and confusion.

OUT/STRATEGY/seed-N/ appears when the run has ended, whole: it is made beside and renamed. All
files are complete when OUT/results.json is there.
"""

import asyncio
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variegate.trainer.v1 import trainer_pb2 as pb

from gateway.cli import confusion
from servicekit.storage import ObjectStore, to_key

RESULTS = "results.json"


@dataclass(frozen=True)
class Keeper:
    """Writes runs into OUT. `display_names` are what texts call the classes."""

    store: ObjectStore
    out: Path
    display_names: Mapping[str, str]

    async def keep(self, run: pb.TrainingRun) -> None:
        """Writes the folder of a finished run; one that is there is replaced."""
        await asyncio.to_thread(self._keep, run)

    def finish(self, document: Mapping[str, Any]) -> None:
        """Writes results.json, the document of --json."""
        text = json.dumps(document, indent=2, ensure_ascii=False)
        staged = self.out / f".{RESULTS}.new"
        staged.write_text(f"{text}\n", "utf-8")
        staged.replace(self.out / RESULTS)

    def _keep(self, run: pb.TrainingRun) -> None:
        folder = self.out / run.strategy / f"seed-{run.seed}"
        staged = folder.with_name(f".{folder.name}.new")
        # Of a run that was killed.
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            for name, data in self._files(run.result).items():
                (staged / name).write_bytes(data)
            if folder.exists():
                shutil.rmtree(folder)
            staged.rename(folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _files(self, result: pb.TestResult) -> dict[str, bytes]:
        names = [entry.class_name for entry in result.classes]
        matrix = [list(entry.predicted_counts) for entry in result.classes]
        return {
            "model.safetensors": self._get(result.weights_uri),
            "card.json": self._card(result),
            "metrics.jsonl": self._get(result.metrics_uri),
            "predictions.parquet": _named_by_file(self._get(result.predictions_uri)),
            "confusion.csv": confusion.as_csv(names, matrix).encode(),
            "confusion.png": confusion.as_png(names, matrix),
            **({"model.onnx": self._get(result.onnx_uri)} if result.onnx_uri else {}),
        }

    def _card(self, result: pb.TestResult) -> bytes:
        card = json.loads(self._get(result.card_uri))
        card["display_names"] = {
            name: self.display_names.get(name, name) for name in card["class_names"]
        }
        return f"{json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False)}\n".encode()

    def _get(self, uri: str) -> bytes:
        return self.store.get(to_key(uri))


def _named_by_file(predictions: bytes) -> bytes:
    """`file_name`, as in the manifests of outputs, for what the trainer calls `source`."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(predictions))
    names = ["file_name" if name == "source" else name for name in table.column_names]
    buffer = io.BytesIO()
    pq.write_table(table.rename_columns(names), buffer, compression="zstd")
    return buffer.getvalue()
