"""What a run decides by its validation images: learning rate, end, and the weights it keeps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from servicekit.errors import InvalidArgument
from tests.trainer.conftest import TEST, TRAIN
from tests.trainer.test_training import interrupt_at, run
from trainer.course import Course
from trainer.defaults import resolve, with_steps
from trainer.jobs.classify import WEIGHTS
from trainer.runs import RunRequest
from trainer.schedules import Plateau, epoch_steps
from trainer.training import train

RISING = [0.1, 0.2, 0.3]


@pytest.fixture(autouse=True)
def plain_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def rewritten(spec, **changes):
    path = Path(spec.folder) / "rows.npz"
    np.savez(path, **{**dict(np.load(path)), **changes})


@pytest.fixture
def chosen(spec):
    """A run of 12 epochs of 2 steps that chooses by the last three training images' twins."""
    labels = np.load(Path(spec.folder) / "rows.npz")["train_labels"]
    rewritten(
        spec, validation_rows=np.arange(TRAIN)[-3:], validation_labels=labels[TRAIN - 3 : TRAIN]
    )
    size = -(-2 * TRAIN // 2)
    return replace(spec, schedule="plateau", choose="best", batch_size=size, step_count=24)


def test_ten_stale_epochs_divide_the_learning_rate_by_ten_and_twenty_end_the_run():
    burg = Plateau()
    assert burg.factor([]) == burg.factor(RISING) == burg.factor([*RISING, *[0.3] * 9]) == 1
    assert burg.factor([*RISING, *[0.3] * 10]) == pytest.approx(0.1)
    assert burg.factor([*RISING, *[0.3] * 10, 0.4, *[0.2] * 10]) == pytest.approx(0.01)
    assert not burg.is_done([*RISING, *[0.3] * 19])
    assert burg.is_done([*RISING, *[0.3] * 20])
    ever_better = [number / 300 for number in range(270)]
    assert burg.is_done(ever_better) and not burg.is_done(ever_better[:269])


def test_the_first_of_the_best_epochs_is_kept():
    network = torch.nn.Linear(2, 2)
    course = Course(network, 4, None, keeps_best=True)
    for epoch, accuracy in enumerate([0.9, 0.4, 0.6, 0.6, 0.5]):
        torch.nn.init.constant_(network.weight, epoch)
        course.end_epoch(accuracy)
    assert course.best_epoch == 2, "what it was before any step is never chosen"
    course.choose_best()
    assert network.weight.tolist() == [[2, 2], [2, 2]]


def test_a_run_ends_when_nothing_is_gained_and_keeps_its_best(chosen, monkeypatch):
    monkeypatch.setattr("trainer.jobs.classify.Plateau", lambda: Plateau(2, 0.1, stop_after=4))
    events = []
    result = train(chosen, events.append)
    accuracies = [e["values"]["validation_accuracy"] for e in events if e["event"] == "metrics"]
    assert max(accuracies) <= 1 and result.validation.accuracy == pytest.approx(max(accuracies))
    steps = epoch_steps(2 * TRAIN, chosen.batch_size)
    assert result.done_step_count == result.chosen_step + 4 * steps < chosen.step_count
    rates = {round(e["values"]["learning_rate"], 9) for e in events if e["event"] == "metrics"}
    assert {chosen.learning_rate, chosen.learning_rate / 10} <= rates


def test_an_interrupted_run_decides_as_an_undisturbed_one(chosen):
    undisturbed = run(chosen)
    interrupt_at(chosen, 5)
    interrupt_at(chosen, 14)
    assert run(chosen) == undisturbed


def test_nothing_is_chosen_by_test_images(chosen):
    before, weights = run(chosen)
    rewritten(chosen, test_labels=np.roll(np.arange(TEST) % 3, 1))
    after, same = run(chosen)
    assert after.accuracy != before.accuracy and weights == same
    assert (after.chosen_step, after.done_step_count) == (
        before.chosen_step,
        before.done_step_count,
    )
    assert (Path(chosen.folder) / WEIGHTS).read_bytes() == weights


@pytest.mark.parametrize("wanted", [{"schedule": "plateau"}, {"choose": "best"}])
def test_without_validation_images_nothing_is_chosen(wanted):
    with pytest.raises(InvalidArgument, match="goes by images of the split 'validation'"):
        resolve(RunRequest("store:m", **wanted))
    assert resolve(RunRequest("store:m", validation=True, **wanted))


def test_what_cannot_be_is_refused_with_what_can():
    with pytest.raises(InvalidArgument, match="'burg' is not known as schedule; known are plateau"):
        resolve(RunRequest("store:m", validation=True, schedule="burg"))
    two_phase = {"strategy": "two_phase", "synthetic_manifest_uri": "store:s"}
    with pytest.raises(InvalidArgument, match="'two_phase' has a pace of its own"):
        resolve(RunRequest("store:m", validation=True, schedule="plateau", **two_phase))


def test_the_steps_of_a_plateau_are_those_of_270_epochs():
    asked = resolve(RunRequest("store:m", validation=True, schedule="plateau", batch_size=10))
    assert with_steps(asked, 101).step_count == 270 * 11
    assert with_steps(replace(asked, step_count=7), 101).step_count == 7
    with pytest.raises(InvalidArgument, match="a run has at most 1,000,000"):
        with_steps(asked, 10**6)
