"""mixup and CutMix: who is mixed with whom, how much, and what the labels make of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from trainer import recipes
from trainer.data.samples import Batch
from trainer.distribution import Share
from trainer.image_policies import image_policy
from trainer.jobs.classify import Classify, _blend
from trainer.mixing import Mixed, paired, partner_places, random_of
from trainer.runs import RunRequest
from trainer.schedules import Cosine
from trainer.searching.requests import search_of
from trainer.strategies.base import Sources

MIXING = ("mixup", "cutmix")
STRATEGIES = list(recipes.recipes("strategies"))


def blend(policy, images, partners, step=0, seed=1):
    made = recipes.load("policies", policy).create_blend(images.shape[2])
    return made(images, partners, random_of(seed, step))


def black_and_white(side=32):
    return torch.zeros(4, 3, side, side), torch.ones(4, 3, side, side)


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_has_a_real_image_mixed_with_a_synthetic_one(name):
    labels = np.arange(60) % 3
    strategy = recipes.load("strategies", name).create(Sources(labels, 24, 3, 9, 40, 3, Cosine()))
    for step in range(40):
        synthetic = torch.from_numpy(strategy.draw(step).rows >= 24)
        places = partner_places(synthetic)
        assert torch.equal(synthetic[places], synthetic)
        assert sorted(places.tolist()) == list(range(9)), "each is the partner of one"
        for kind in (synthetic, ~synthetic):
            alone = kind.sum() == 1
            assert ((places == torch.arange(9))[kind] == alone).all()


def test_a_share_of_a_batch_has_the_partners_that_the_whole_batch_has(monkeypatch):
    batch = Batch(
        torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 2, 2, 3),
        torch.arange(12) % 5,
        torch.tensor([0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0], dtype=torch.bool),
    )
    whole = paired(batch, Share())
    # What the processes of the batch exchange is tried with real ones in test_distribution.
    monkeypatch.setattr(Share, "whole", lambda share, part: next(parts))
    for rank in range(3):
        share, parts = Share(rank, 3), iter(batch)
        own = paired(Batch(*(share.of_batch(part) for part in batch)), share)
        for ours, all_of_it in zip(own, whole, strict=True):
            assert torch.equal(ours, share.of_batch(all_of_it))


@pytest.mark.parametrize("policy", MIXING)
def test_the_share_that_the_labels_get_is_that_of_the_pixels(policy):
    own, others = black_and_white()
    shares = set()
    for step in range(50):
        mixed, share = blend(policy, own, others, step)
        assert mixed.shape == own.shape and 0 <= share <= 1
        assert mixed.mean().item() == pytest.approx(1 - share, abs=1e-5)
        assert torch.equal(mixed[0], mixed[3]), "one draw for a batch"
        shares.add(share)
    assert len(shares) > 40 and min(shares) < 0.25 and max(shares) > 0.75
    assert own.max() == 0 and others.min() == 1, "the images themselves stay as they are"


def test_mixup_fades_all_pixels_alike():
    mixed, share = blend("mixup", *black_and_white())
    assert torch.allclose(mixed, torch.full_like(mixed, 1 - share))


def test_mixup_is_gentle_at_the_sizes_of_imagenet():
    def mean_distance(side):
        draws = [blend("mixup", *black_and_white(side), step)[1] for step in range(60)]
        return np.mean([min(share, 1 - share) for share in draws])

    assert mean_distance(128) < 0.6 * mean_distance(32)


def test_cutmix_puts_in_one_box_and_leaves_all_else():
    for step in range(30):
        mixed, _ = blend("cutmix", *black_and_white(), step)
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}
        box = mixed[0, 0].nonzero()
        if len(box):
            (top, left), (bottom, right) = box.min(0).values, box.max(0).values
            assert len(box) == (bottom - top + 1) * (right - left + 1)


@pytest.mark.parametrize("policy", MIXING)
def test_a_mix_depends_on_the_seed_and_the_step_alone(policy):
    images = torch.rand(2, 4, 3, 16, 16)
    mixed, share = blend(policy, *images, step=7)
    torch.rand(5)  # of the global generator
    again, same_share = blend(policy, *images, step=7)
    assert torch.equal(mixed, again) and share == same_share
    others = [blend(policy, *images, step=step, seed=seed)[1] for step, seed in ((8, 1), (7, 2))]
    assert share not in others


def test_targets_are_the_shares_of_both_labels():
    nothing = torch.empty(0)
    mixed = Mixed(nothing, nothing, torch.tensor([0, 2]), torch.tensor([1, 2]))
    expected = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(mixed.targets(0.75, 3), expected)


def test_a_balanced_softmax_of_shared_labels_is_that_of_both_in_their_shares():
    labels = np.array([0] * 9 + [1] * 3 + [2] * 50)
    strategy = recipes.load("strategies", "half_half").create(
        Sources(labels, 12, 3, 4, 10, 0, Cosine())
    )
    logits, own, others = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    targets = Mixed(logits, logits, own, others).targets(0.3, 3)
    balanced = logits + torch.tensor([9.0, 3.0, 1.0]).log()
    expected = 0.3 * cross_entropy(balanced, own) + 0.7 * cross_entropy(balanced, others)
    assert torch.allclose(strategy.loss(logits, targets, 0.0), expected)


def test_an_added_mixing_mixes_what_the_other_policy_made_as_it_would_mix_anything(spec):
    made = {
        name: Classify(replace(spec, policy=name), Share(), torch.device("cpu"))
        for name in ("randaugment", "mixup", "randaugment+mixup")
    }
    batch = next(made["randaugment"].batches(0))
    same = next(made["randaugment+mixup"].batches(0))
    assert all(torch.equal(own, other) for own, other in zip(same, batch, strict=True))
    assert not torch.equal(next(made["mixup"].batches(0)).images, batch.images)
    images, targets = made["randaugment+mixup"]._mixed(0, batch)
    wanted = made["mixup"]._mixed(0, batch)
    assert torch.equal(images, wanted[0]) and torch.equal(targets, wanted[1])
    assert not torch.equal(images, made["randaugment"]._mixed(0, batch)[0])


def test_of_several_mixings_each_step_has_one_and_all_have_their_turn(spec):
    alone, both = (
        [_blend(replace(spec, policy=name)) for name in names]
        for names in (("cutmix", "mixup"), ("cutmix+mixup",))
    )
    own, others = black_and_white()
    kinds = [len(both[0](own, others, random_of(1, step))[0].unique()) for step in range(40)]
    faded = sum(kind == 1 for kind in kinds)  # every pixel alike
    assert 10 < faded < 30
    assert alone[0](own, others, random_of(1, 3))[1] != alone[1](own, others, random_of(1, 3))[1]


@pytest.mark.parametrize(
    ("asked", "name"),
    [("standard+mixup", "mixup"), ("mixup+none", "none+mixup"), ("mixup+cutmix", "cutmix+mixup")],
)
def test_what_several_names_mean_has_one(asked, name):
    assert image_policy(asked).name == name
    assert image_policy(name) == image_policy(asked)


def test_what_a_search_finds_is_found_whatever_mixes_its_images():
    found = [
        search_of(RunRequest("m", policy=f"fast_autoaugment{more}")) for more in ("", "+mixup")
    ]
    assert found[0] == found[1]
