"""Student's t distribution, from the incomplete beta function: no more than intervals need."""

import math
from functools import cache

_LEAST = 1e-300  # In place of 0 as a denominator.
_ENOUGH = 1e-15
_MOST_TERMS = 500


def two_sided_p(t: float, freedom: int) -> float:
    """The chance that |T| is at least |t| with `freedom` (>= 1) degrees of freedom, 0 to 1."""
    if math.isinf(t):
        return 0.0
    whole = freedom + t * t
    return _beta_share(freedom / whole, t * t / whole, freedom / 2, 0.5)


@cache  # Every class of every row asks for the same one.
def quantile(confidence: float, freedom: int) -> float:
    """The t that |T| stays below with a chance of `confidence`, 0 <= confidence < 1."""
    if not 0 <= confidence < 1:
        raise ValueError(f"A confidence of {confidence} is not in [0, 1).")
    low, high = 0.0, 1.0
    while 1 - two_sided_p(high, freedom) < confidence:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if 1 - two_sided_p(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_share(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), 0 <= x <= 1; `rest` is 1 - x, exactly."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    if x > (a + 1) / (a + b + 2):  # The continued fraction would converge slowly.
        return 1 - _beta_share(rest, x, b, a)
    log_front = a * math.log(x) + b * math.log(rest) - math.log(a)
    log_front += math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(_MOST_TERMS):
        m = term // 2
        if term == 0:
            numerator = 1.0
        elif term % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + numerator * d or _LEAST)
        c = 1 + numerator / c or _LEAST
        value *= c * d
        if term and abs(c * d - 1) < _ENOUGH:
            break
    return value - 1
