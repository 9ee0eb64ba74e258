"""Means, standard errors and paired gains; all numbers are shares, not points."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.export.student import quantile, two_sided_p

# Of the intervals of gains.
CONFIDENCE = 0.95


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


def interval(gain: float, error: float | None, count: int) -> tuple[float, float] | None:
    """Where the true gain lies with CONFIDENCE, by Student's t over `count` paired seeds.

    With three seeds it is 4.3 standard errors to each side. None for a single seed.
    """
    if error is None or count < 2:
        return None
    reach = quantile(CONFIDENCE, count - 1) * error
    return gain - reach, gain + reach


def p_value(gain: float, error: float | None, count: int) -> float | None:
    """The chance of a gain or loss of this size over `count` paired seeds if there is none.

    Two-sided, by Student's t. None for a single seed. 0 where every seed gained the very same.
    """
    if error is None or count < 2:
        return None
    if error == 0:
        return float(gain == 0)
    return two_sided_p(gain / error, count - 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values after Holm's correction for being that many, in the same order.

    Below 0.05 they hold together: the chance that any of them is wrong is at most 5 %. Those that
    are None stay so, and do not count.
    """
    known = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, at) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[at] = largest
    return corrected


def beats(gain: float, error: float | None) -> bool:
    """True if the gain is above two standard errors; never for a single seed."""
    return error is not None and gain > 0 and gain > 2 * error


def loses(gain: float, error: float | None) -> bool:
    """True if it is a loss of more than two standard errors; never for a single seed."""
    return beats(-gain, error)


@dataclass(frozen=True)
class Comparison:
    """Values by seed, and what they gained on others of the same seeds.

    The errors are None for a single seed, as are `gain_interval`, which holds the true gain with
    CONFIDENCE, and `p_value`, the chance of such a gain or loss if there is none.
    """

    accuracies: tuple[float, ...]
    mean_accuracy: float
    standard_error: float | None
    gain: float
    gain_standard_error: float | None
    beats_baseline: bool
    loses_to_baseline: bool
    gain_interval: tuple[float, float] | None = None
    p_value: float | None = None


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
        interval(gain, error, len(values)),
        p_value(gain, error, len(values)),
    )
