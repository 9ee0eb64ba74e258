"""The export and the report of what benchmarks.streaming made, each in a process of its own."""

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.messages import augmentation_from_pb
from gateway.api.resources import AugmentationResult
from gateway.export import export_augmentation
from gateway.export.results import DatasetSummary
from gateway.study import (
    Arm,
    AugmentationRecord,
    RunRecord,
    StudySpec,
    build_gallery,
    build_results,
    render_report,
)
from servicekit.storage import DirectoryStore, to_key
from tests.gateway.pictures import picture

SEEDS = (0, 1, 2)
STRATEGIES = ("combined", "two_phase")


class Pictures(DirectoryStore):
    """The store of the run, in which every image that was made is the same picture."""

    _picture = picture("made", (64, 64))

    def get(self, key: str) -> bytes:
        return self._picture if key.startswith("generated/") else super().get(key)


def export(folder: Path, store: Pictures, made: AugmentationResult) -> dict[str, float]:
    """Writes all images as shards."""
    export_augmentation(
        store,
        made.manifest_uri,
        folder / "exported",
        dataset_uri=_dataset_uri(folder),
        form="webdataset",
    )
    return {}


def report(folder: Path, store: Pictures, made: AugmentationResult) -> dict[str, float]:
    """Writes the report of a study with the augmentation for each seed, whose figures are drawn."""
    text = _report(folder, store, made)
    (folder.parent / "streaming-report.html").write_text(text)
    return {"report_mib": len(text.encode()) / 2**20}


def _report(folder: Path, store: Pictures, made: AugmentationResult) -> str:
    names = sorted(one.name for one in (folder / "train").iterdir())
    method = made.manifest_uri.rpartition("/")[0]
    arms = tuple(Arm("simple", strategy) for strategy in STRATEGIES)
    rows = (Arm("baseline", "real"), *arms)
    counts = tuple(2 for _ in names)
    each = made.accepted_count // len(names)
    spec = StudySpec(
        "streaming", DatasetSummary("many", "0", tuple(names), counts, counts), each, SEEDS, arms
    )
    chance = random.Random(0)
    runs = []
    for row in rows:
        for seed in SEEDS:
            found = {name: chance.uniform(0.4, 0.9) for name in names}
            runs.append(RunRecord(row, seed, sum(found.values()) / len(found), found))
    augmentations = [
        AugmentationRecord(
            arm, seed, method, made.manifest_uri, made.rejected_uri, made.accepted_count
        )
        for arm in arms
        for seed in SEEDS
    ]
    uris = dict.fromkeys(SEEDS, _dataset_uri(folder))
    gallery = build_gallery(store, uris, augmentations, images_per_class=each)
    return render_report(build_results(spec, runs, augmentations), gallery)


def _dataset_uri(folder: Path) -> str:
    resource_file = folder / "objects/datasets/pets/resource.json"
    return str(json.loads(resource_file.read_text())["manifest_uri"])


KINDS: dict[str, Callable[[Path, Pictures, AugmentationResult], dict[str, float]]] = {
    "export": export,
    "report": report,
}


def main(kind: str, folder: Path) -> dict[str, float]:
    """Returns the seconds that it took and the peak of memory, and what it measured itself."""
    made = augmentation_from_pb(
        pb.Augmentation.FromString((folder / "augmentation.bin").read_bytes())
    ).result
    assert made is not None and to_key(made.manifest_uri)
    began = time.process_time()
    figures = KINDS[kind](folder, Pictures(folder / "objects", durable=False), made)
    return {
        f"{kind}_cpu_seconds": time.process_time() - began,
        f"{kind}_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **figures,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
