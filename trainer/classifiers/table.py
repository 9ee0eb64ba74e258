"""The table of classifiers: what a run can name, as data that a server reads without torch."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from trainer.schedules import SCHEDULES, Schedule

TABLE = Path(__file__).parent / "classifiers.toml"

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimiser by name, its peak learning rate unless a run asks for another, and the rest."""

    name: Literal["adamw", "sgd"]
    learning_rate: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Classifier:
    """One row: a network, the pixels that it takes, and how it is trained.

    `library` is "own" (`networks.py` here) or "torchvision", which builds `network` with the
    `arguments`. Image sizes are in pixels. `mean` and `std` are those of the channels, of pixels in
    0 to 1.
    """

    id: str
    description: str
    library: Literal["own", "torchvision"]
    network: str
    smallest_image: int
    usual_image: int
    step_count: int
    optimizer: OptimizerChoice
    schedule: Schedule
    source: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)
    label_smoothing: float = 0.0
    has_batch_norm: bool = True


@cache
def classifiers() -> Mapping[str, Classifier]:
    """All rows by id, sorted."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: _row(name, rows[name]) for name in sorted(rows)}


def _row(name: str, values: dict[str, Any]) -> Classifier:
    optimizer, schedule = dict(values["optimizer"]), dict(values["schedule"])
    choice = OptimizerChoice(optimizer.pop("name"), optimizer.pop("learning_rate"), optimizer)
    kind = SCHEDULES[schedule.pop("name")]
    parts = {"id": name, "optimizer": choice, "schedule": kind(**_plain(schedule))}
    return Classifier(**_plain(values) | parts)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples for lists, which a row's digest and its readers can rely on."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
