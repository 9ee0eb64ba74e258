"""MVC's Algorithm 1 and AUGCOND's operations, by their properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.mixing import CaptionMix
from gateway.methods.mixing import draws, embedding, mvc, pixels

CASES = {
    "count": st.integers(1, 6),
    "m": st.integers(1, 9),
    "d": st.integers(1, 11),
    "coarse": st.integers(0, 4),
    "fine": st.integers(0, 9),
    "seed": st.integers(0, 2**64 - 1),
}


def captions(count, m, d):
    """Matrices in which every entry names its caption and its place."""
    return np.arange(count * m * d, dtype=np.float32).reshape(count, m, d)


def mixed(embeddings, seeds, coarse=2, fine=8):
    mixes = mvc.draw(
        np.array(seeds, np.uint64),
        caption_count=len(embeddings),
        shape=embeddings.shape[1:],
        coarse_steps=coarse,
        fine_steps=fine,
    )
    found = [mix_of(drawn, len(embeddings)) for drawn in mvc.describe(mixes)]
    assert not any(mix.problem(embeddings.shape[1:]) for mix in found)
    return np.stack([mix.of(list(torch.from_numpy(embeddings))).numpy() for mix in found]), mixes


def mix_of(drawn, count):
    """Returns the generator's mix of what was drawn."""
    captions = tuple(map(str, range(count)))
    coarse, fine = (tuple(map(tuple, drawn[name])) for name in ("coarse", "fine"))
    return CaptionMix(captions, drawn["start"], coarse, fine)


@given(**CASES)
@settings(max_examples=40, deadline=None)
def test_every_entry_comes_from_a_caption_of_the_class_at_the_same_place(
    count, m, d, coarse, fine, seed
):
    embeddings = captions(count, m, d)
    result, _ = mixed(embeddings, [seed, seed ^ 1], coarse, fine)
    assert result.shape == (2, m, d)
    assert result.dtype == np.float32
    assert (result[:, None] == embeddings[None]).any(axis=1).all()


@given(**CASES)
@settings(max_examples=40, deadline=None)
def test_a_mix_depends_on_its_own_seed_only(count, m, d, coarse, fine, seed):
    embeddings = captions(count, m, d)
    alone, _ = mixed(embeddings, [seed], coarse, fine)
    crowd, _ = mixed(embeddings, [7, seed, 9], coarse, fine)
    assert np.array_equal(alone[0], crowd[1])


@given(**CASES)
@settings(max_examples=40, deadline=None)
def test_no_steps_are_the_identity(count, m, d, coarse, fine, seed):
    embeddings = captions(count, m, d)
    result, mixes = mixed(embeddings, [seed], 0, 0)
    assert np.array_equal(result[0], embeddings[mixes.start[0]])


@given(**CASES)
@settings(max_examples=40, deadline=None)
def test_slices_are_never_empty_and_stay_inside(count, m, d, coarse, fine, seed):
    _, mixes = mixed(captions(count, m, d), [seed], coarse, fine)
    assert (mixes.coarse_from >= 0).all() and (mixes.coarse_to <= m).all()
    assert (mixes.coarse_from < mixes.coarse_to).all()
    assert (mixes.fine_from < mixes.fine_to).all() and (mixes.fine_to <= d).all()
    assert ((mixes.fine_row >= 0) & (mixes.fine_row < m)).all()
    for sources in (mixes.coarse_source, mixes.fine_source):
        assert ((sources >= 0) & (sources < count)).all()
        assert (sources != mixes.start[:, None]).all()


def test_the_algorithm_is_the_papers_line_by_line():
    embeddings = captions(5, 7, 9)
    seeds = np.arange(20, dtype=np.uint64)
    result, mixes = mixed(embeddings, seeds)
    for number in range(len(seeds)):
        lineage = mvc.describe(mixes)[number]
        e = embeddings[lineage["start"]].copy()
        for p, r, s in lineage["coarse"]:
            e[r:s, :] = embeddings[p][r:s, :]
        for q, w, u, v in lineage["fine"]:
            e[w, u:v] = embeddings[q][w, u:v]
        assert np.array_equal(e, result[number])


def test_the_replaced_share_grows_with_the_steps():
    embeddings = captions(8, 16, 24)
    seeds = np.arange(300, dtype=np.uint64)

    def share(coarse, fine):
        result, mixes = mixed(embeddings, seeds, coarse, fine)
        return float((result != embeddings[mixes.start]).mean())

    assert 0 == share(0, 0) < share(1, 0) < share(2, 0) < share(4, 0)
    assert 0 < share(0, 4) < share(0, 8) < share(0, 32)


def test_all_captions_and_all_slices_are_drawn():
    seeds = np.arange(4000, dtype=np.uint64)
    mixes = mvc.draw(seeds, caption_count=4, shape=(3, 5), coarse_steps=1, fine_steps=1)
    assert set(mixes.start.tolist()) == {0, 1, 2, 3}
    rows = set(zip(mixes.coarse_from[:, 0].tolist(), mixes.coarse_to[:, 0].tolist(), strict=True))
    assert rows == {(r, s) for r in range(3) for s in range(r + 1, 4)}
    counts = np.bincount(mixes.start)
    assert counts.min() > 850, "captions are not equally likely"


def test_a_single_caption_is_returned_and_the_lineage_says_so():
    embeddings = captions(1, 4, 4)
    result, mixes = mixed(embeddings, [3])
    assert np.array_equal(result[0], embeddings[0])
    assert mvc.describe(mixes)[0] == {"start": 0, "coarse": [], "fine": []}


def test_negative_steps_and_no_captions_are_errors():
    with pytest.raises(ValueError, match="negative"):
        mvc.draw(np.zeros(1, np.uint64), caption_count=2, shape=(2, 2), coarse_steps=-1)
    with pytest.raises(ValueError, match="at least one caption"):
        mvc.draw(np.zeros(1, np.uint64), caption_count=0, shape=(2, 2))


@given(seed=st.integers(0, 2**64 - 1), d=st.integers(2, 64))
@settings(max_examples=40, deadline=None)
def test_embed_cutmix_changes_a_contiguous_share_of_the_features(seed, d):
    first, second = np.zeros(d, np.float32), np.ones(d, np.float32)
    cut = embedding.EmbedCutMix.draw(seed, d)
    result = cut.apply(first, second)
    assert result.tolist() == [1.0 if cut.start <= i < cut.stop else 0.0 for i in range(d)]
    assert 0 < cut.stop - cut.start < d, "the embedding must change and keep something"
    assert abs((cut.stop - cut.start) / d - (1 - cut.share)) <= 1 / d
    assert not first.any(), "the parent must not change"
    assert cut.lineage() == {"lambda": cut.share, "cut": [cut.start, cut.stop]}


@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=40, deadline=None)
def test_embed_mixup_lies_between_its_parents(seed):
    first, second = np.zeros(8, np.float32), np.full(8, 4, np.float32)
    blend = embedding.EmbedMixUp.draw(seed, 8)
    assert np.allclose(blend.apply(first, second), 4 * (1 - blend.share), atol=1e-5)


def test_dropout_zeroes_about_its_share_and_does_not_rescale():
    vector = np.full(20_000, 3, np.float32)
    result = embedding.Dropout(seed=5).apply(vector)
    assert set(result.tolist()) == {0.0, 3.0}
    assert abs((result == 0).mean() - 0.4) < 0.02
    assert np.array_equal(embedding.Dropout(5, 0.0).apply(vector), vector)
    with pytest.raises(ValueError, match="probability"):
        embedding.Dropout(5, 1.5)


def test_dropout_and_cutmix_of_one_seed_do_not_share_draws():
    seeds = np.arange(2000, dtype=np.uint64)
    first = draws.uniforms(seeds ^ np.uint64(0xD20), 1)[:, 0]
    second = draws.uniforms(seeds ^ np.uint64(0xC07), 1)[:, 0]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_embeddings_of_two_sizes_do_not_mix():
    with pytest.raises(ValueError, match="one length"):
        embedding.EmbedCutMix.draw(1, 3).apply(np.zeros(3, np.float32), np.zeros(4, np.float32))


def test_embed_cutmix_changes_nearly_every_embedding_and_invents_no_entry():
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 1024)).astype(np.float32)
    for seed in range(300):
        mixed = embedding.EmbedCutMix.draw(seed, 1024).apply(first, second)
        assert not np.array_equal(mixed, first) and not np.array_equal(mixed, second)
        assert ((mixed == first) | (mixed == second)).all()


@pytest.mark.parametrize("draw", [embedding.EmbedMixUp.draw, pixels.MixUp.draw, pixels.CutMix.draw])
def test_lambda_is_uniform_which_is_beta_1_1(draw):
    shares = np.sort([draw(seed, 64).share for seed in range(4000)])
    # The distance of Kolmogorov and Smirnov; 0.04 is beyond the 0.001 level of 4000 draws.
    assert np.abs(shares - np.arange(4000) / 4000).max() < 0.04


def test_a_cutmix_box_stays_inside_and_has_its_share_unless_the_border_cuts_it():
    areas = []
    for seed in range(2000):
        box = pixels.CutMix.draw(seed, 0)
        assert 0 <= box.left <= box.right <= 1 and 0 <= box.top <= box.bottom <= 1
        area = (box.right - box.left) * (box.bottom - box.top)
        assert area <= 1 - box.share + 1e-9
        if box.left > 0 and box.right < 1 and box.top > 0 and box.bottom < 1:
            assert area == pytest.approx(1 - box.share)
        areas.append(area)
        assert box.lineage()["box"] == [box.left, box.top, box.right, box.bottom]
    assert min(areas) > 0 and max(areas) > 0.8


def test_dropout_names_the_features_that_it_sets_to_zero():
    vector = np.ones(64, np.float32)
    dropout = embedding.Dropout(seed=9)
    assert np.flatnonzero(dropout.apply(vector) == 0).tolist() == dropout.zeroed(64)
