"""The table of classifiers: what a run can name, as data that a server reads without torch."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from trainer.classifiers.timm_table import timm_networks
from trainer.schedules import SCHEDULES, Schedule

TABLE = Path(__file__).parent / "classifiers.toml"
TIMM = "timm"
# Of a run's folder: the weights that it starts from.
INITIAL = "initial.safetensors"

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

    `library` is "own" (`networks.py` here), "torchvision" or "timm", which builds `network` with
    the `arguments`. Image sizes are in pixels. `mean` and `std` are those of the channels, of
    pixels in 0 to 1. With `has_own_pixels` the size, mean and deviation are those that the library
    trained the network with, so weights of it want them.
    """

    id: str
    description: str
    library: Literal["own", "torchvision", "timm"]
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
    largest_image: int = 1024
    has_own_pixels: bool = False


@cache
def classifiers() -> Mapping[str, Classifier]:
    """All rows by id, sorted."""
    rows = _rows()
    return {name: _row(name, rows[name]) for name in sorted(rows) if name != TIMM}


def any_of_timm() -> Classifier:
    """The row that stands for "timm:NAME"."""
    return replace(_row(TIMM, _rows()[TIMM]), id=f"{TIMM}:NAME")


def classifier_of(name: str) -> Classifier:
    """The classifier of an id: a row, or "timm:NAME" for any network of timm. Raises KeyError.

    "timm:NAME.TAG" is the network with the pixels that its weights TAG were trained on.
    """
    if not name.startswith(f"{TIMM}:"):
        return classifiers()[name]
    network = name.removeprefix(f"{TIMM}:")
    pixels = timm_networks()[network]
    row = replace(_row(name, _rows()[TIMM]), network=network, has_own_pixels=True)
    return replace(row, **asdict(pixels))


@cache
def _rows() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def _row(name: str, values: dict[str, Any]) -> Classifier:
    optimizer, schedule = dict(values["optimizer"]), dict(values["schedule"])
    choice = OptimizerChoice(optimizer.pop("name"), optimizer.pop("learning_rate"), optimizer)
    kind = SCHEDULES[schedule.pop("name")]
    parts = {"id": name, "optimizer": choice, "schedule": kind(**_plain(schedule))}
    return Classifier(**_plain(values) | parts)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tuples for lists, which a row's digest and its readers can rely on."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
