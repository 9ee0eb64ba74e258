"""Batch composition of every strategy, for any sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from trainer import recipes
from trainer.classifiers.building import build
from trainer.classifiers.table import classifiers
from trainer.schedules import Cosine, Steps
from trainer.strategies.base import Sources, UnfitModelError

# Other work on the machine must not fail a test.
relaxed = settings(deadline=None, max_examples=40)

IDS = list(recipes.recipes("strategies"))
sources = st.builds(
    lambda real, synthetic, batch, steps, seed: Sources(
        np.arange(real + synthetic) % 3, real, 3, batch, steps, seed, Cosine()
    ),
    st.integers(1, 40),
    st.integers(1, 90),
    st.integers(4, 70),
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


@relaxed
@given(given_sources=sources)
def test_aux_bn_draws_half_of_each_and_the_real_ones_first(given_sources):
    strategy, batch = create("aux_bn", given_sources), given_sources.batch_size
    for step in range(min(5, given_sources.step_count)):
        is_synthetic = strategy.draw(step).rows >= given_sources.real_count
        assert is_synthetic.tolist() == [False] * (batch - batch // 2) + [True] * (batch // 2)


def test_rsp_gives_a_place_of_half_a_batch_to_a_synthetic_image_with_the_paper_s_probability():
    labels, batch, steps = np.zeros(70, np.int64), 21, 400
    strategy = create("rsp", Sources(labels, 30, 1, batch, steps, 5, Cosine()))
    drawn = [strategy.draw(step).rows for step in range(steps)]
    synthetic = np.array([(rows >= 30).sum() for rows in drawn])
    assert synthetic.max() <= batch // 2 and synthetic.min() < synthetic.max()
    assert synthetic.mean() == pytest.approx(0.8 * (batch // 2), rel=0.05)
    # Each kind goes through all its images before it begins again.
    rows = np.concatenate(drawn)
    for kind in (rows[rows < 30][:30], rows[rows >= 30][:40]):
        assert len(set(kind.tolist())) == len(kind)


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


def aux_bn(network):
    strategy = create("aux_bn", Sources(np.zeros(20, np.int64), 10, 3, 8, 10, 0, Cosine()))
    torch.manual_seed(0)
    model = build(classifiers()[network], 3)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    return strategy, strategy.adapt(model), plain


def test_synthetic_images_leave_the_main_batch_norms_untouched():
    strategy, model, plain = aux_bn("cnn4")
    images = torch.randn(8, 3, 16, 16)
    strategy.logits(model, images, torch.ones(8, dtype=torch.bool)).square().mean().backward()
    now = strategy.weights(model)
    assert now.keys() == plain.keys()
    assert all(torch.equal(now[name], plain[name]) for name in plain)
    norms = [module for module in model.modules() if hasattr(module, "auxiliary")]
    assert len(norms) == 4
    for norm in norms:
        assert norm.main.weight.grad is None and norm.auxiliary.weight.grad is not None
        assert int(norm.main.num_batches_tracked) == 0
        assert int(norm.auxiliary.num_batches_tracked) == 1


def test_real_images_of_a_mixed_batch_are_normalised_as_if_alone():
    strategy, model, plain = aux_bn("cnn4")
    alone = build(classifiers()["cnn4"], 3)
    alone.load_state_dict(plain)
    images, synthetic = torch.randn(8, 3, 32, 32), torch.arange(8) >= 5
    mixed = strategy.logits(model, images, synthetic)
    torch.testing.assert_close(mixed[:5], alone(images[:5]))
    weights = strategy.weights(model)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(weights[name], value)


def test_a_test_meets_the_main_batch_norms_alone_which_is_what_the_weights_hold():
    strategy, model, _ = aux_bn("wrn_28_2")
    images, synthetic = torch.randn(8, 3, 16, 16), torch.arange(8) >= 4
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    strategy.logits(model, images, synthetic).square().mean().backward()
    optimizer.step()
    tested = build(classifiers()["wrn_28_2"], 3)
    tested.load_state_dict(strategy.weights(model))
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), tested.eval()(images))


def test_aux_bn_refuses_a_model_without_batch_norm():
    strategy = create("aux_bn", Sources(np.zeros(20, np.int64), 10, 3, 8, 10, 0, Cosine()))
    with pytest.raises(UnfitModelError, match="needs a classifier with batch norm"):
        strategy.adapt(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)))
