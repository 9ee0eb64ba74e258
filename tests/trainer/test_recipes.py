"""Policies and classifiers, and how they are found."""

import subprocess
import sys

import pytest
import torch

from trainer import recipes

POLICIES = list(recipes.recipes("policies"))
CLASSIFIERS = list(recipes.recipes("classifiers"))


def images(count: int = 16, side: int = 32) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=draw)


def apply(policy: str, batch: torch.Tensor, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return recipes.load("policies", policy).apply(batch, draw)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", [16, 32, 50])
def test_a_policy_keeps_shape_and_type_and_follows_its_seed(policy, side):
    batch = images(side=side)
    kept = batch.clone()
    changed = apply(policy, batch)
    assert changed.shape == batch.shape and changed.dtype == torch.uint8
    assert torch.equal(batch, kept), "the policy wrote into its input"
    assert torch.equal(changed, apply(policy, batch))
    assert policy == "none" or not torch.equal(changed, apply(policy, batch, seed=1))


def test_none_changes_nothing():
    assert torch.equal(apply("none", images()), images())


def test_standard_only_moves_and_flips():
    ramp = torch.arange(32, dtype=torch.uint8)[None, None, :, None].expand(64, 32, 32, 3) + 100
    changed = apply("standard", ramp)[:, 16, 8:24, 0].int()  # the padding does not reach here
    steps = changed.diff(dim=1)
    flipped = (steps == -1).all(1)
    assert ((steps == 1).all(1) | flipped).all()
    assert 16 < int(flipped.sum()) < 48
    assert len(set(changed[:, 0].tolist())) > 4


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_classifier_gives_one_logit_a_class_and_can_learn(classifier):
    torch.manual_seed(0)
    model = recipes.load("classifiers", classifier).build(7)
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_classifier_states_its_defaults(classifier):
    recipe = recipes.recipes("classifiers")[classifier]
    assert 0 < recipe.number("LEARNING_RATE") < 1
    assert recipe.number("STEP_COUNT") >= 100


def test_wrn_28_2_has_the_size_of_the_paper():
    model = recipes.load("classifiers", "wrn_28_2").build(10)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 1.45e6 < count < 1.49e6


def test_listing_recipes_does_not_load_torch():
    code = (
        "import sys; from trainer import recipes; import trainer.wiring\n"
        "assert recipes.recipes('classifiers') and recipes.recipes('strategies')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
