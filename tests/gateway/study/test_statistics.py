"""Student's t, intervals of paired gains and Holm's correction, against closed forms and brute
force."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export.statistics import compare, holm, interval, p_value
from gateway.export.student import quantile, two_sided_p

# Of the 97.5 % points of Student's t that every textbook prints.
PRINTED = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045, 120: 1.980}
chances = st.floats(0, 1, allow_nan=False)


@given(st.floats(0, 1e4))
def test_with_one_and_two_degrees_of_freedom_t_has_its_closed_forms(t):
    assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-9)
    assert two_sided_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-9)


@pytest.mark.parametrize(("freedom", "printed"), PRINTED.items())
def test_quantiles_are_those_of_the_printed_tables(freedom, printed):
    assert quantile(0.95, freedom) == pytest.approx(printed, abs=6e-4)


@given(st.floats(0, 0.999), st.integers(1, 200))
def test_the_quantile_is_where_the_chance_is(confidence, freedom):
    assert 1 - two_sided_p(quantile(confidence, freedom), freedom) == pytest.approx(
        confidence, abs=1e-9
    )


def test_the_interval_holds_the_true_gain_as_often_as_it_says():
    random_ = random.Random(3)
    held = 0
    for _ in range(2000):
        gains = [random_.gauss(0.01, 0.02) for _ in range(4)]
        low, high = compare(gains, [0.0] * 4).gain_interval
        held += low <= 0.01 <= high
    assert 0.93 < held / 2000 < 0.97  # Drawn with a fixed seed: it is always the same.


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_the_interval_leaves_out_zero_exactly_where_p_is_below_five_percent(gains):
    one = compare(gains, [0.0] * len(gains))
    low, high = one.gain_interval
    if abs(one.p_value - 0.05) > 1e-6:
        assert (low > 0 or high < 0) == (one.p_value < 0.05)


def test_one_seed_has_neither_interval_nor_p_and_equal_gains_leave_no_doubt():
    assert interval(0.3, None, 1) is None and p_value(0.3, None, 1) is None
    assert p_value(0.3, 0.0, 3) == 0 and p_value(0.0, 0.0, 3) == 1
    assert interval(0.3, 0.0, 3) == (0.3, 0.3)


def rejected_step_by_step(p_values, level):
    """Holm's procedure as he wrote it: the smallest first, until one is not rejected."""
    left = sorted(range(len(p_values)), key=lambda at: p_values[at])
    rejected = set()
    for rank, at in enumerate(left):
        if p_values[at] > level / (len(p_values) - rank):
            break
        rejected.add(at)
    return rejected


@given(st.lists(chances, min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_corrected_values_reject_what_holms_procedure_rejects(p_values, level):
    corrected = holm(p_values)
    expected = rejected_step_by_step(p_values, level)
    close = any(abs(p - level) < 1e-9 for p in corrected)
    assert close or {at for at, p in enumerate(corrected) if p <= level} == expected
    assert all(after >= before for before, after in zip(p_values, corrected, strict=True))


def test_a_row_without_a_p_value_does_not_count_among_the_rows():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
