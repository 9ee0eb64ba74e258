"""Batches of training: what a sample is depends on the run, the image and the pass alone."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from servicekit.errors import Exhausted
from tests.trainer.conftest import TEST, TRAIN
from tests.trainer.launching import training_processes
from trainer import recipes
from trainer.data.images import DecodedImages
from trainer.data.loading import load, process_count
from trainer.data.samples import PlainBatches, TrainingBatches, read_images
from trainer.data.seeds import key_of, seed_of
from trainer.distribution import Share
from trainer.launchers.workers import Worker
from trainer.schedules import Cosine
from trainer.strategies.base import Sources

STEPS, ALONE = range(12), Share()


@pytest.fixture
def images(spec):
    return read_images(Path(spec.folder), 16)


def batches(images, *, batch_size=8, share=ALONE, seed=5, policy="randaugment", strategy="real"):
    sources = Sources(images.labels, images.real_count, 3, batch_size, len(STEPS), seed, Cosine())
    drawn = recipes.load("strategies", strategy).create(sources)
    change = recipes.load("policies", policy).create(16)
    return TrainingBatches(images, drawn, change, share, seed)


def by_draw(made, steps):
    """The pixels of every sample by image and by how often it was drawn before."""
    found, seen = {}, {}
    for step in steps:
        rows, batch = made._strategy.draw(step).rows, made.__getitems__(step)
        for row, pixels in zip(rows.tolist(), batch.images.numpy(), strict=True):
            found[row, seen.setdefault(row, 0)] = pixels
            seen[row] += 1
    return found


def test_a_sample_does_not_depend_on_the_other_samples_of_its_batch(images):
    small = by_draw(batches(images, batch_size=4), range(9))
    large = by_draw(batches(images, batch_size=12), range(3))
    assert small.keys() == large.keys() == {(row, n) for row in range(TRAIN) for n in (0, 1)}
    assert all(np.array_equal(small[draw], large[draw]) for draw in small)


def test_an_image_is_changed_in_another_way_in_each_pass(images):
    found = by_draw(batches(images, policy="standard"), range(9))
    passes = [[found[row, n] for n in range(4)] for row in range(TRAIN)]
    different = [len({pixels.tobytes() for pixels in some}) for some in passes]
    assert np.mean(different) > 3


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_share_a_batch_make_what_one_makes(images, count):
    whole = batches(images, strategy="half_half")
    shares = [batches(images, strategy="half_half", share=Share(n, count)) for n in range(count)]
    for step in STEPS:
        parts, batch = [one.__getitems__(step) for one in shares], whole.__getitems__(step)
        for rank, part in enumerate(parts):
            for own, all_of_them in zip(part, batch, strict=True):
                assert torch.equal(own, all_of_them[rank::count])


@pytest.mark.parametrize("processes", [1, 3])
def test_loader_processes_make_what_this_one_makes(images, processes):
    made = batches(images)
    alone, loaded = (list(load(made, STEPS, count, pinned=False)) for count in (0, processes))
    assert len(alone) == len(loaded) == len(STEPS)
    for first, second in zip(alone, loaded, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_test_images_come_in_order_and_unchanged(images, spec, monkeypatch):
    monkeypatch.setattr(PlainBatches, "size", 4)
    tested = PlainBatches(images.test)
    loaded = list(load(tested, range(len(tested)), 2, pinned=False))
    assert [len(batch) for batch in loaded] == [4, 4, 1]
    kept = DecodedImages(Path(spec.folder) / "real.npy")
    expected = np.stack([kept.read(TRAIN + row) for row in range(TEST)])
    np.testing.assert_array_equal(torch.cat(loaded).numpy(), expected)


def test_seeds_differ_by_run_image_and_pass():
    keys = [key_of(f"item-{number}") for number in range(20)]
    seeds = {seed_of(run, n, key) for run in (0, 2**64 - 1) for n in range(20) for key in keys}
    assert len(seeds) == 2 * 20 * 20


def test_a_batch_that_shared_memory_cannot_hold_is_made_without_processes(caplog):
    assert process_count(3, 10, 100, most=1) == 3
    assert process_count(0, 10, 100, most=8) == 0, "a short run is over before they have started"
    assert process_count(0, 10**6, 100, most=8) == 8
    assert process_count(4, 10, 2**60, most=8) == 0
    assert "has room for those of 0 loader processes instead of 4" in caplog.text


def test_the_images_of_an_item_have_its_key_whatever_else_is_trained_on(images):
    fewer = replace(images, keys=images.keys[:TRAIN], labels=images.labels[:TRAIN])
    own, others = batches(images).__getitems__(3), batches(fewer).__getitems__(3)
    assert torch.equal(own.images, others.images)


async def test_loader_processes_end_with_their_worker_however_it_ends(spec, tmp_path):
    replace(spec, step_count=10**6, checkpoint_seconds=0.0, loaders=2).write(tmp_path / "spec.json")
    worker, begun = Worker(60.0), asyncio.Event()
    run = asyncio.create_task(worker.run(tmp_path / "spec.json", lambda event: begun.set()))
    await asyncio.wait_for(begun.wait(), 60)
    [process] = [one for one in training_processes() if one.children()]
    loaders = process.children()
    assert len(loaders) == 2
    process.kill()
    with pytest.raises(Exhausted, match="killed after step"):
        await asyncio.wait_for(run, 10)
    assert psutil.wait_procs(loaders, timeout=10)[1] == []
    await worker.stop()


def test_a_loader_process_that_is_killed_is_taken_for_a_lack_of_memory(images, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    before = set(psutil.Process().children())
    loaded = load(batches(images), range(10**6), 2, pinned=False)
    next(loaded)
    (set(psutil.Process().children()) - before).pop().kill()
    with pytest.raises(MemoryError, match="loads images was killed"):
        for _ in loaded:
            pass
