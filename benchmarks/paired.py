"""Ratios of two ways that were measured in turns, so that what else the machine does hits both."""

import statistics
from collections.abc import Sequence


def ratios(bare: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Returns the median of `bare[n] / ours[n]`, both in seconds, and the mean's standard error."""
    each = [a / b for a, b in zip(bare, ours, strict=True)]
    return {
        "ratio": statistics.median(each),
        "standard_error": statistics.stdev(each) / len(each) ** 0.5,
        "turns": float(len(each)),
    }
