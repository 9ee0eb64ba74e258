"""What a search finds: sub-policies of two changes each, of which every image gets one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Of a worker's folder and of the store.
FOUND = "policy.json"


class Change(NamedTuple):
    """An operation by its id, the probability that it is done, and its magnitude, both 0 to 1."""

    operation: str
    probability: float
    magnitude: float


SubPolicy = tuple[Change, ...]


@dataclass(frozen=True)
class SearchSizes:
    """How much is searched: `folds` classifiers of `steps` steps each, and with each `rounds` of
    `trials` on at most `images` images (0: all); of each round the best `kept` trials stay."""

    folds: int = 0
    rounds: int = 0
    trials: int = 0
    kept: int = 0
    steps: int = 0
    images: int = 0

    @property
    def trial_count(self) -> int:
        """Trials in all."""
        return self.folds * self.rounds * self.trials

    @property
    def fold_step_count(self) -> int:
        """Steps of a fold: those of its classifier, then one a trial."""
        return self.steps + self.rounds * self.trials

    @property
    def step_count(self) -> int:
        """Steps of all folds."""
        return self.folds * self.fold_step_count


def write_found(path: Path, sub_policies: tuple[SubPolicy, ...], facts: Mapping[str, Any]) -> None:
    """Writes what was found, and what it was found with."""
    content = {**facts, "sub_policies": sub_policies}
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_found(path: Path) -> tuple[SubPolicy, ...]:
    """The sub-policies that `write_found` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return tuple(tuple(Change(*one) for one in part) for part in content["sub_policies"])
