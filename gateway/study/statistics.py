"""Means, standard errors and paired gains; all numbers are shares, not points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    if not values:
        raise ValueError("The mean of no values is not defined.")
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean, from the sample variance (n - 1).

    None for a single value, which says nothing about chance.
    """
    count = len(values)
    if count < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (count - 1) / count)


def paired_gain(values: Sequence[float], baseline: Sequence[float]) -> tuple[float, float | None]:
    """The mean of the differences at equal seeds, and its standard error.

    Pairing removes what the seeds share (initialisation, order), so its error is the honest one
    for "did the images help", and differs from that of two independent means.
    """
    differences = [value - base for value, base in zip(values, baseline, strict=True)]
    return mean(differences), standard_error(differences)


def beats(gain: float, error: float | None) -> bool:
    """True if the gain is above two standard errors; never for a single seed."""
    return error is not None and gain > 0 and gain > 2 * error


def loses(gain: float, error: float | None) -> bool:
    """True if it is a loss of more than two standard errors; never for a single seed."""
    return beats(-gain, error)


@dataclass(frozen=True)
class Comparison:
    """Values by seed, and what they gained on others of the same seeds.

    The errors are None for a single seed.
    """

    accuracies: tuple[float, ...]
    mean_accuracy: float
    standard_error: float | None
    gain: float
    gain_standard_error: float | None
    beats_baseline: bool
    loses_to_baseline: bool


def compare(values: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compares values with those of the baseline at the same seeds."""
    gain, error = paired_gain(values, baseline)
    return Comparison(
        tuple(values),
        mean(values),
        standard_error(values),
        gain,
        error,
        beats(gain, error),
        loses(gain, error),
    )
