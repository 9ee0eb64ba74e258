"""Batch composition of every strategy, for any sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from trainer import recipes
from trainer.schedules import Cosine, Steps
from trainer.strategies.base import Sources

# Other work on the machine must not fail a test.
relaxed = settings(deadline=None, max_examples=40)

IDS = list(recipes.recipes("strategies"))
sources = st.builds(
    lambda real, synthetic, batch, steps, seed: Sources(
        np.arange(real + synthetic) % 3, real, 3, batch, steps, seed, Cosine()
    ),
    st.integers(1, 40),
    st.integers(1, 90),
    st.integers(2, 70),
    st.integers(1, 60),
    st.integers(0, 2**64 - 1),
)


def create(name, given_sources):
    return recipes.load("strategies", name).create(given_sources)


@pytest.mark.parametrize("name", IDS)
@relaxed
@given(given_sources=sources, data=st.data())
def test_every_batch_is_full_within_range_and_depends_on_the_step_alone(name, given_sources, data):
    step = data.draw(st.integers(0, given_sources.step_count - 1))
    rows = create(name, given_sources).draw(step).rows
    assert rows.shape == (given_sources.batch_size,) and rows.dtype == np.int64
    assert rows.min() >= 0 and rows.max() < given_sources.count
    assert (rows == create(name, given_sources).draw(step).rows).all()


@pytest.mark.parametrize("name", IDS)
@relaxed
@given(given_sources=sources)
def test_no_image_is_drawn_twice_in_the_same_pass(name, given_sources):
    strategy = create(name, given_sources)
    draws = [strategy.draw(step) for step in range(given_sources.step_count)]
    pairs = [pair for d in draws for pair in zip(d.rows.tolist(), d.passes.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("name", IDS)
@relaxed
@given(given_sources=sources)
def test_learning_rates_stay_between_nothing_and_the_peak(name, given_sources):
    strategy = create(name, given_sources)
    factors = [strategy.learning_rate_factor(step) for step in range(given_sources.step_count)]
    assert all(0 < factor <= 1 for factor in factors)


@relaxed
@given(given_sources=sources)
def test_real_never_draws_a_synthetic_image(given_sources):
    strategy = create("real", given_sources)
    for step in range(min(10, given_sources.step_count)):
        assert strategy.draw(step).rows.max() < given_sources.real_count


@pytest.mark.parametrize(("name", "count"), [("real", "real_count"), ("combined", "count")])
@relaxed
@given(given_sources=sources)
def test_each_pass_holds_every_image_once(name, count, given_sources):
    strategy, total = create(name, given_sources), getattr(given_sources, count)
    steps = -(-2 * total // given_sources.batch_size)
    drawn = np.concatenate([strategy.draw(step).rows for step in range(steps)])
    assert (np.sort(drawn[:total]) == np.arange(total)).all()
    assert (np.sort(drawn[total : 2 * total]) == np.arange(total)).all()


@relaxed
@given(given_sources=sources)
def test_two_phase_ends_on_real_images_at_a_lower_rate(given_sources):
    strategy = create("two_phase", given_sources)
    first = strategy.first_step_count
    assert given_sources.step_count / 2 < first or given_sources.step_count == 1
    late = range(first, given_sources.step_count)
    assert all(strategy.draw(step).rows.max() < given_sources.real_count for step in late)
    assert all(strategy.learning_rate_factor(step) <= 0.2 for step in late)


def test_two_phase_begins_on_both():
    strategy = create("two_phase", Sources(np.zeros(100, np.int64), 20, 1, 50, 100, 0, Cosine()))
    rows = np.concatenate([strategy.draw(step).rows for step in range(2)])
    assert (np.sort(rows) == np.arange(100)).all()


@relaxed
@given(given_sources=sources)
def test_half_half_draws_half_of_each_and_all_synthetic_images_in_turn(given_sources):
    strategy, batch = create("half_half", given_sources), given_sources.batch_size
    real = given_sources.real_count
    synthetic = given_sources.count - real
    drawn: list[int] = []
    while len(drawn) < synthetic:
        rows = strategy.draw(len(drawn) // (batch // 2)).rows
        assert (rows < real).sum() == batch - batch // 2
        drawn += rows[rows >= real].tolist()
    assert sorted(drawn[:synthetic]) == list(range(real, given_sources.count))


def test_half_half_balances_by_the_real_class_counts():
    labels = np.array([0] * 9 + [1] * 3 + [2] * 50)
    strategy = create("half_half", Sources(labels, 12, 3, 4, 10, 0, Cosine()))
    logits, truth = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = cross_entropy(logits + torch.tensor([9.0, 3.0, 1.0]).log(), truth)
    assert torch.allclose(strategy.loss(logits, truth, 0.0), expected)


def test_half_half_is_the_plain_loss_where_real_classes_are_equal():
    strategy = create(
        "half_half", Sources(np.array([0, 1, 2] * 4 + [0] * 9), 12, 3, 4, 10, 0, Cosine())
    )
    logits, truth = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    assert torch.allclose(strategy.loss(logits, truth, 0.0), cross_entropy(logits, truth))


def test_a_cosine_rises_then_falls_to_almost_nothing():
    factors = [Cosine(0.2).factor(step, 100) for step in range(100)]
    peak = int(np.argmax(factors))
    assert 15 <= peak <= 25 and factors[peak] > 0.99
    assert factors[0] < 0.05 and factors[-1] < 0.001
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_steps_lower_the_rate_at_each_milestone():
    factors = [Steps((0.5, 0.75), 0.2).factor(step, 8) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04])
