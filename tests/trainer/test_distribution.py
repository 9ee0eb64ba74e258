"""Several real processes, started by torchrun, that train one run together."""

import asyncio
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from servicekit.errors import Precondition
from tests.trainer.conftest import TRAIN
from trainer.classifiers.building import build
from trainer.classifiers.table import INITIAL, classifier_of
from trainer.distribution import Share, with_whole_batch_norm
from trainer.jobs.classify import PREDICTIONS, WEIGHTS, Classify
from trainer.launchers.groups import Group, run_group
from trainer.launchers.workers import Worker
from trainer.runs import SearchSpec
from trainer.searching.found import FOUND, SearchSizes, read_found
from trainer.training import read_spec, train

TWO = Group(processes=2)
# Floats are added in another order.
SAME = 2e-3


def written(spec, folder: Path) -> Path:
    """Writes the spec into a folder of its own, with the same images."""
    folder.mkdir()
    (folder / "rows.npz").write_bytes((Path(spec.folder) / "rows.npz").read_bytes())
    replace(spec, folder=str(folder)).write(folder / "spec.json")
    return folder / "spec.json"


def working_on(folder: Path) -> list[psutil.Process]:
    """Returns the processes that were started for a spec in this folder."""
    processes = psutil.process_iter(["cmdline"])
    return [one for one in processes if str(folder) in " ".join(one.info["cmdline"] or ())]


async def test_two_processes_come_to_what_one_does_with_the_whole_batch(spec, tmp_path):
    spec = replace(spec, strategy="half_half", policy="cutmix", step_count=4, loaders=1)
    worker, events = Worker(60.0), ([], [])
    alone = await worker.run(written(spec, tmp_path / "alone"), events[0].append)
    await worker.stop()
    together = await run_group(TWO, written(spec, tmp_path / "two"), events[1].append)
    assert together is not None and together["accuracy"] == alone["accuracy"]
    assert together["final_loss"] == pytest.approx(alone["final_loss"], abs=SAME)
    metrics = [[event for event in some if event["event"] == "metrics"] for some in events]
    steps = [[event["step"] for event in some] for some in metrics]
    assert steps[0] == steps[1] == list(range(1, 5)), "one process reports, and every step"
    for ours, theirs in zip(*metrics, strict=True):
        assert ours["values"] == pytest.approx(theirs["values"], abs=SAME)
    weights = [load_file(tmp_path / name / WEIGHTS) for name in ("alone", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        # Adam makes a whole step of a gradient that is nothing but rounding: so not each value.
        assert np.abs(value - weights[1][name]).mean() < SAME, name
    kept = [np.load(tmp_path / name / PREDICTIONS) for name in ("alone", "two")]
    np.testing.assert_array_equal(kept[0]["labels"], kept[1]["labels"])


@pytest.mark.slow
async def test_two_processes_follow_the_plateau_of_one(spec, tmp_path):
    rows = dict(np.load(Path(spec.folder) / "rows.npz"))
    few = {"validation_rows": np.arange(TRAIN), "validation_labels": rows["train_labels"][:TRAIN]}
    np.savez(Path(spec.folder) / "rows.npz", **rows | few)
    # An epoch is a step. All are told rightly soon, and nothing is gained from there.
    spec = replace(spec, schedule="plateau", choose="best", policy="none")
    spec = replace(spec, batch_size=2 * TRAIN, step_count=60)
    events = [], []
    alone = asdict(train(read_spec(written(spec, tmp_path / "alone")), events[0].append))
    torch.use_deterministic_algorithms(False)
    together = await run_group(TWO, written(spec, tmp_path / "two"), events[1].append)
    metrics = [
        [event["values"] for event in some if event["event"] == "metrics"] for some in events
    ]
    assert together is not None and together["done_step_count"] == alone["done_step_count"] < 60
    assert together["chosen_step"] == alone["chosen_step"] == alone["done_step_count"] - 20
    for name in ("validation_accuracy", "learning_rate"):
        assert [one[name] for one in metrics[0]] == [one[name] for one in metrics[1]]
    assert metrics[1][-2]["learning_rate"] == pytest.approx(spec.learning_rate / 10)


def test_what_is_part_of_a_norm_comes_after_that_of_the_whole_batch_as_before(monkeypatch):
    monkeypatch.setattr("torch.distributed.all_reduce", lambda values: None)
    own = build(classifier_of("timm:test_efficientnet"), 3)
    whole = with_whole_batch_norm(deepcopy(own), Share(0, 2))
    images = torch.randn(4, 3, 64, 64)
    for is_training in (True, False):
        wanted, found = (network.train(is_training)(images) for network in (own, whole))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_statistics_of_a_frozen_network_stay_in_every_process(spec, monkeypatch):
    save_file(build(classifier_of("cnn4"), 3).state_dict(), Path(spec.folder) / INITIAL)
    monkeypatch.setattr(Share, "trained", lambda share, model, device: model)
    frozen = replace(spec, initial_weights="some", freeze=True)
    job = Classify(frozen, Share(0, 2), torch.device("cpu"))
    job._begin_training()
    norms = [one for one in job._network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)


@pytest.mark.slow
async def test_two_processes_search_for_what_one_does(spec, tmp_path):
    # All of so few trials are kept, and none is chosen by the losses of those before it.
    sizes = SearchSizes(folds=1, rounds=1, trials=3, kept=3, steps=2, images=5)
    values = asdict(spec) | {"job": "search", "policy": "fast_autoaugment", "strategy": "real"}
    spec = SearchSpec(**values | {"sizes": sizes, "step_count": sizes.step_count})
    worker, events = Worker(60.0), ([], [])
    alone = await worker.run(written(spec, tmp_path / "alone"), events[0].append)
    await worker.stop()
    together = await run_group(TWO, written(spec, tmp_path / "two"), events[1].append)
    assert together is not None
    assert together["lowest_loss"] == pytest.approx(alone["lowest_loss"], abs=SAME)
    kept = [read_found(tmp_path / name / FOUND) for name in ("alone", "two")]
    assert set(kept[0]) == set(kept[1])


async def test_an_error_of_all_is_told_and_not_tried_again(spec, tmp_path):
    spec = replace(spec, learning_rate=1e38, step_count=12)
    with pytest.raises(Precondition, match=r"not finite at step"):
        await run_group(TWO, written(spec, tmp_path / "wild"), lambda event: None)
    for _ in range(200):
        if not working_on(tmp_path):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"left behind: {working_on(tmp_path)}")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_shares_of_a_batch_are_the_batch(count):
    rows = np.arange(12)
    shares = [Share(rank, count).of_batch(rows) for rank in range(count)]
    assert sorted(np.concatenate(shares)) == rows.tolist()
    assert {len(share) for share in shares} == {12 // count}


def test_a_process_learns_from_torchrun_which_it_is():
    environ = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert Share.of(environ) == Share(5, 8, 1, 4)
    assert Share.of({}) == Share() and Share.of({}).is_first


def test_the_machines_of_a_group_meet_at_the_first():
    command = Group(3, 8, "first:29400", meeting="now").command(Path("spec.json"))
    assert {"--nnodes=3", "--nproc-per-node=8", "--rdzv-endpoint=first:29400"} <= set(command)
    assert "--rdzv-id=now" in command
    assert "--standalone" in TWO.command(Path("spec.json"))
