"""Means, standard errors and paired gains; all numbers are shares, not points."""

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    if not values:
        raise ValueError("The mean of no values is not defined.")
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float:
    """The standard error of the mean, from the sample variance (n - 1); 0 for a single value."""
    count = len(values)
    if count < 2:
        return 0.0
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (count - 1) / count)


def paired_gain(values: Sequence[float], baseline: Sequence[float]) -> tuple[float, float]:
    """The mean of the differences at equal seeds, and its standard error.

    Pairing removes what the seeds share (initialisation, order), so its error is the honest one
    for "did the images help", and differs from that of two independent means.
    """
    differences = [value - base for value, base in zip(values, baseline, strict=True)]
    return mean(differences), standard_error(differences)


def beats(gain: float, error: float, count: int) -> bool:
    """True if the gain is above two standard errors; never for a single seed."""
    return count > 1 and gain > 0 and gain > 2 * error
