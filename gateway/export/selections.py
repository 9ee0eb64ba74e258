"""What was selected on validation images: part of `results.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """Values that could have been selected.

    `accuracies` are those on the validation images, a share for each seed of the study, None where
    it failed; `selected_seeds` are the seeds at which it was best.
    """

    parameters: Mapping[str, str]
    accuracies: tuple[float | None, ...]
    selected_seeds: tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """The candidates for one row, which has the same `label`."""

    label: str
    candidates: tuple[Candidate, ...]

    @property
    def sentence(self) -> str:
        """What people read: what was selected at which seeds."""
        chosen = [
            f"{', '.join(f'{k}={v}' for k, v in one.parameters.items())} "
            f"(seed{'s'[: len(one.selected_seeds) != 1]} "
            f"{', '.join(map(str, one.selected_seeds))})"
            for one in self.candidates
            if one.selected_seeds
        ]
        return (
            f"{self.label}: of {len(self.candidates)} candidates validation images selected "
            f"{'; '.join(chosen) or 'none'}"
        )


def selection_of(document: Mapping[str, Any]) -> Selection:
    """Reads one of `results.json`."""
    return Selection(
        document["label"],
        tuple(
            Candidate(one["parameters"], tuple(one["accuracies"]), tuple(one["selected_seeds"]))
            for one in document["candidates"]
        ),
    )
