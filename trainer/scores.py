"""What classifiers make of test images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Any


@dataclass(frozen=True)
class ClassScore:
    """The test result of one class; `accuracy` is a share, 0 to 1, or None without test images."""

    class_name: str
    accuracy: float | None
    test_image_count: int


@dataclass(frozen=True)
class Scores:
    """What a classifier makes of some test images. All shares are from 0 to 1.

    `confusion[i][j]` counts the images of class i that were taken for class j, in the order of
    `classes`. `top5_accuracy` is None where there are no more than five classes.
    `calibration_error` is `evaluation.calibration_error`. Results of older versions have neither.
    """

    accuracy: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    test_image_count: int
    top5_accuracy: float | None = field(default=None, kw_only=True)
    calibration_error: float | None = field(default=None, kw_only=True)

    @property
    def balanced_accuracy(self) -> float:
        """The mean accuracy of the classes that have test images."""
        known = [score.accuracy for score in self.classes if score.accuracy is not None]
        return fsum(known) / len(known)


@dataclass(frozen=True)
class TestSetScores(Scores):
    """Scores on a further test set."""

    name: str


def scores_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of scores that `dataclasses.asdict` made plain."""
    classes = tuple(_score(**score) for score in values["classes"])
    confusion = tuple(tuple(row) for row in values["confusion"])
    return {**values, "classes": classes, "confusion": confusion}


def _score(class_name: str, accuracy: float | None, test_image_count: int) -> ClassScore:
    # Results of older versions have 0 for a class without test images.
    return ClassScore(class_name, accuracy if test_image_count else None, test_image_count)
