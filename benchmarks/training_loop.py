"""The training loop against a plain loop in torch, and the data path against what training needs.

Run it with `python -m benchmarks training_loop`. For cnn4 on 32 pixels, kept decoded, and ResNet-18
on 224 pixels, kept as encoded files, with the standard policy:

- `*_loop`: the time of a plain loop over that of the trainer's, with the same network, optimiser
  and loader, in turns. 1 where the trainer adds nothing.
- `*_data`: the images that the loader makes in a second over those that the trainer trains on, in
  turns.

The ratio is the least of the loops, and of the data paths in units of what they are to reach.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch.nn.functional import cross_entropy

from benchmarks.paired import ratios
from benchmarks.training_images import CLASSES, write_images
from servicekit.storage import DirectoryStore
from trainer import recipes
from trainer.classifiers.building import Normaliser, build, create_optimizer
from trainer.classifiers.table import classifiers
from trainer.data import keepers
from trainer.data.leases import Lease
from trainer.data.loading import load
from trainer.data.samples import Batch, TrainingBatches, read_images
from trainer.defaults import resolve
from trainer.distribution import Share
from trainer.kinds.classify import ClassifyKind
from trainer.runs import RunRequest, RunSpec
from trainer.settings import TrainerSettings
from trainer.strategies.base import Sources
from trainer.training import train

REQUIRED, NEEDED = 0.97, 3.0
LOADERS = 2


@dataclass(frozen=True)
class _Case:
    """Images to train on, the steps of a turn, and the batches that the loader alone makes."""

    classifier: str
    side: int
    image_count: int
    batch_size: int
    steps: int
    turns: int
    loaded: int
    decoded_bytes: int = 0


CASES = {
    "cnn4_32": _Case("cnn4", 32, 2000, 64, 60, 6, 200, keepers.DECODED_BYTES),
    "resnet18_224": _Case("resnet18", 224, 100, 8, 3, 5, 60),
}


def measure() -> dict[str, float]:
    """Returns the ratio and both figures of each case, with images per second."""
    figures: dict[str, float] = {}
    for name, case in CASES.items():
        figures |= {f"{name}_{key}": value for key, value in _measured(case).items()}
    loops = [figures[f"{name}_loop"] for name in CASES]
    paths = [figures[f"{name}_data"] / NEEDED for name in CASES]
    return {"ratio": min(*loops, *paths), "required": REQUIRED, **figures}


def _measured(case: _Case) -> dict[str, float]:
    works = (_plain, _ours, partial(_loaded, steps=case.loaded))
    seconds: list[list[float]] = [[], [], []]  # an image, by kind of work
    with _prepared(case) as spec:
        for turn in range(case.turns + 1):
            for place in range(3):  # Another one goes first in every turn.
                kind = (turn + place) % 3
                seconds[kind].append(works[kind](spec))
    plain, ours, loaded = (times[1:] for times in seconds)  # The first turn warms up.
    loop, data = ratios(plain, ours), ratios(ours, loaded)
    return {
        "loop": loop["ratio"],
        "loop_error": loop["standard_error"],
        "data": data["ratio"],
        "data_error": data["standard_error"],
        "trained_per_second": 1 / median(ours),
        "loaded_per_second": 1 / median(loaded),
    }


@contextmanager
def _prepared(case: _Case) -> Iterator[RunSpec]:
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(keepers, "DECODED_BYTES", case.decoded_bytes),
    ):
        folder = Path(name)
        store = DirectoryStore(folder / "store", durable=False)
        settings = TrainerSettings(
            folder / "scratch", device="cpu", loaders=LOADERS, checkpoint_seconds=1e9
        )
        kind = ClassifyKind(settings, store)
        uri = write_images(store, case.image_count, case.side)
        run = RunRequest(uri, classifier=case.classifier, image_size=case.side)
        request = resolve(replace(run, batch_size=case.batch_size, step_count=case.steps))
        images = kind.choose(request)
        yield kind.prepare("trainingRuns/benchmark", request, images, Lease())


def _ours(spec: RunSpec) -> float:
    """Seconds an image of the trainer's steps, with the loader's start and without the test."""
    result = train(spec, lambda event: None)
    assert result is not None
    return result.seconds / (spec.step_count * spec.batch_size)


def _plain(spec: RunSpec) -> float:
    """Seconds an image of the same steps as anyone writes them."""
    classifier, device = classifiers()[spec.classifier], torch.device("cpu")
    normalised = Normaliser(classifier, device)
    model = build(classifier, CLASSES).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = create_optimizer(classifier, model.parameters(), spec.learning_rate)
    began = time.perf_counter()
    for images, labels, _ in _batches(spec, spec.step_count):
        loss = cross_entropy(model(normalised(images)), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / (spec.step_count * spec.batch_size)


def _loaded(spec: RunSpec, steps: int) -> float:
    """Seconds an image of the loader alone, with its start."""
    began = time.perf_counter()
    for _ in _batches(spec, steps):
        pass
    return (time.perf_counter() - began) / (steps * spec.batch_size)


def _batches(spec: RunSpec, steps: int) -> Iterator[Batch]:
    images, schedule = (
        read_images(Path(spec.folder), spec.image_size),
        classifiers()["cnn4"].schedule,
    )
    sources = Sources(
        images.labels, images.real_count, CLASSES, spec.batch_size, steps, spec.seed, schedule
    )
    strategy = recipes.load("strategies", spec.strategy).create(sources)
    policy = recipes.load("policies", spec.policy).create(spec.image_size)
    made = TrainingBatches(images, strategy, policy, Share(), spec.seed)
    return load(made, range(steps), LOADERS, pinned=False)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
