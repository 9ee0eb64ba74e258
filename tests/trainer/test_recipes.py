"""Policies and classifiers, and how they are found."""

import subprocess
import sys

import pytest
import torch

from trainer import recipes
from trainer.classifiers.building import Normaliser, build, create_optimizer
from trainer.classifiers.table import classifiers
from trainer.searching.found import Change

# As a search finds them.
FOUND = (
    (Change("rotate", 1.0, 0.9), Change("posterize", 0.5, 0.2)),
    (Change("translate_x", 0.9, 0.8), Change("invert", 0.4, 0.0)),
)
POLICIES = [one.id for one in recipes.recipes("policies").values() if not one.mixes]
# wrn_28_10 is the network of wrn_28_2 at another width, and takes its time to be made.
# Those of timm are in test_weights.
OF_TIMM = {one.id for one in classifiers().values() if one.library == "timm"}
CLASSIFIERS = sorted(set(classifiers()) - {"wrn_28_10"} - OF_TIMM)


def image(side: int = 32) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(256, (3, side, side), dtype=torch.uint8, generator=draw)


def apply(policy: str, pixels: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return policy_of(policy, pixels.shape[1])(pixels)


def policy_of(policy: str, size: int) -> torch.nn.Module:
    found = (FOUND,) if recipes.recipes("policies")[policy].needs_search else ()
    return recipes.load("policies", policy).create(size, *found)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("side", [16, 50])
def test_a_policy_keeps_shape_and_type_and_follows_its_seed(policy, side):
    pixels = image(side)
    kept = pixels.clone()
    changed = apply(policy, pixels)
    assert changed.shape == pixels.shape and changed.dtype == torch.uint8
    assert torch.equal(pixels, kept), "the policy wrote into its input"
    assert torch.equal(changed, apply(policy, pixels))
    others = [apply(policy, pixels, seed) for seed in (1, 2, 3)]
    assert policy == "none" or not all(torch.equal(changed, other) for other in others)


def test_none_changes_nothing():
    assert torch.equal(apply("none", image()), image())


def test_standard_only_moves_and_flips():
    ramp = torch.arange(32, dtype=torch.uint8)[None, None, :].expand(3, 32, 32) + 100
    # The padding does not reach the columns that are looked at.
    changed = torch.stack([apply("standard", ramp, seed)[0, 16, 8:24].int() for seed in range(64)])
    steps = changed.diff(dim=1)
    flipped = (steps == -1).all(1)
    assert ((steps == 1).all(1) | flipped).all()
    assert 16 < int(flipped.sum()) < 48
    assert len(set(changed[:, 0].tolist())) > 4


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"none"}))
def test_a_policy_sees_all_of_a_wide_picture_at_the_sizes_of_imagenet(policy):
    recipe = recipes.recipes("policies")[policy]
    assert recipe.sees_whole(224) and recipe.sees_whole(32) == (policy == "resized_crop")
    create = policy_of(policy, 128)
    picture = torch.zeros(3, 128, 512, dtype=torch.uint8)
    picture[:, :, :32] = 255  # which no square of its middle holds
    torch.manual_seed(0)
    seen = [create(picture) for _ in range(60)]
    assert {tuple(one.shape) for one in seen} == {(3, 128, 128)}
    assert any(one.float().mean() > 10 for one in seen)


def test_no_policy_means_the_middle_square():
    assert not recipes.recipes("policies")["none"].sees_whole(1024)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_one_logit_a_class_and_can_learn(name):
    torch.manual_seed(0)
    row = classifiers()[name]
    model = build(row, 7)
    normalised = Normaliser(row, torch.device("cpu"))
    images = torch.stack([image(), image().flip(1)]).permute(0, 2, 3, 1)
    logits = model(normalised(images))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    create_optimizer(row, model.parameters(), row.optimizer.learning_rate).step()


@pytest.mark.parametrize("name", classifiers())
def test_a_classifier_states_how_it_is_trained(name):
    row = classifiers()[name]
    assert 0 < row.optimizer.learning_rate < 1
    assert row.step_count >= 100 and row.smallest_image <= row.usual_image
    assert 0 < row.schedule.factor(0, row.step_count) <= 1
    assert row.schedule.factor(row.step_count - 1, row.step_count) < 0.01


def test_pixels_get_the_mean_and_deviation_that_a_classifier_states():
    row = classifiers()["resnet18"]
    grey = torch.tensor([255 * mean for mean in row.mean]).round().byte().expand(2, 4, 4, 3)
    pixels = Normaliser(row, torch.device("cpu"))(grey.contiguous())
    assert pixels.shape == (2, 3, 4, 4) and pixels.abs().max() < 0.01
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    white = Normaliser(row, torch.device("cpu"))(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor(row.mean)) / torch.tensor(row.std)
    assert torch.allclose(white.flatten(), expected)


def test_wrn_28_2_has_the_size_of_the_paper():
    model = build(classifiers()["wrn_28_2"], 10)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 1.45e6 < count < 1.49e6


def test_listing_recipes_does_not_load_torch():
    code = (
        "import sys; from trainer import recipes; import trainer.wiring\n"
        "from trainer.classifiers.table import classifiers\n"
        "assert classifiers() and recipes.recipes('strategies')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
