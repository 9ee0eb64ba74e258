"""The training loop in this process, on images of three plain colours."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.conftest import TEST, TRAIN
from trainer.jobs.classify import PREDICTIONS, WEIGHTS
from trainer.runs import RunResult, RunSpec
from trainer.scores import ClassScore
from trainer.training import CHECKPOINT, LossNotFiniteError, train


@pytest.fixture(autouse=True)
def plain_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def run(spec: RunSpec) -> tuple[RunResult, bytes]:
    result = train(spec, lambda event: None)
    return replace(result, seconds=0.0), (Path(spec.folder) / WEIGHTS).read_bytes()


class Interrupted(Exception):
    pass


def interrupt_at(spec: RunSpec, step: int) -> None:
    def emit(event: dict[str, object]) -> None:
        if event["event"] == "checkpoint" and event["step"] == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(replace(spec, checkpoint_seconds=0.0), emit)


def test_colours_are_told_apart(spec):
    result, _ = run(spec)
    assert result.accuracy == 1.0
    assert result.confusion == ((3, 0, 0), (0, 3, 0), (0, 0, 3))
    assert (result.real_image_count, result.synthetic_image_count) == (TRAIN, TRAIN)
    assert RunResult.of_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("strategy", "policy"),
    [
        ("combined", "randaugment"), ("two_phase", "randaugment"), ("half_half", "mixup"),
        ("rsp", "cutmix"), ("aux_bn", "randaugment+cutmix+mixup"),
    ],
)  # fmt: skip
def test_an_interrupted_run_ends_as_an_undisturbed_one(spec, strategy, policy):
    spec = replace(spec, strategy=strategy, policy=policy)
    undisturbed = run(spec)
    interrupt_at(spec, 7)
    interrupt_at(spec, 20)
    assert run(spec) == undisturbed


def test_checkpoints_go_by_the_clock_whatever_the_reports(spec):
    spec = replace(spec, step_count=150)  # a report every third step
    reports = [[], []]

    def collect(into):
        return lambda event: into.append(event["step"]) if event["event"] == "metrics" else None

    undisturbed = train(spec, collect(reports[0]))
    interrupt_at(spec, 7)
    interrupt_at(spec, 8)
    resumed = train(spec, collect(reports[1]))
    assert replace(resumed, seconds=0.0) == replace(undisturbed, seconds=0.0)
    assert reports[0] == reports[1] == list(range(3, 151, 3))


def test_metrics_are_the_same_after_an_interruption_between_two_reports(spec):
    spec = replace(spec, step_count=100)
    events = [[], []]
    train(spec, events[0].append)
    interrupt_at(spec, 9)
    train(spec, events[1].append)
    kept = [[(e["step"], e["values"]) for e in run if e["event"] == "metrics"] for run in events]
    assert kept[0] == kept[1]


def test_a_checkpoint_of_other_code_is_not_used(spec):
    undisturbed = run(replace(spec, code_digest="new"))
    interrupt_at(replace(spec, code_digest="old"), 7)
    assert run(replace(spec, code_digest="new")) == undisturbed


def test_a_class_without_test_images_has_no_accuracy_and_counts_in_no_mean(spec):
    rows = dict(np.load(Path(spec.folder) / "rows.npz"))
    kept = (rows["test_labels"] != 2) | (np.arange(TEST) == 0)
    rows["test_rows"], rows["test_labels"] = rows["test_rows"][kept], rows["test_labels"][kept]
    np.savez(Path(spec.folder) / "rows.npz", **rows)
    result, _ = run(spec)
    assert [score.accuracy for score in result.classes] == [1.0, 1.0, None]
    assert result.classes[2].test_image_count == 0
    assert result.balanced_accuracy == 1.0
    assert RunResult.of_json(result.to_json()) == result


def test_balanced_accuracy_is_the_mean_over_classes_not_over_images():
    scores = (ClassScore("a", 0.9, 90), ClassScore("b", 0.1, 10), ClassScore("c", None, 0))
    result = RunResult(0.82, scores, (), 100, 1, 0, 1.0, 0.5)
    assert result.balanced_accuracy == pytest.approx(0.5)


def test_every_test_image_has_its_prediction_and_a_probability(spec):
    run(spec)
    predicted = np.load(Path(spec.folder) / PREDICTIONS)
    assert (predicted["labels"] == np.load(Path(spec.folder) / "rows.npz")["test_labels"]).all()
    assert ((predicted["confidences"] > 1 / 3) & (predicted["confidences"] <= 1)).all()


def test_another_seed_is_another_run(spec):
    assert run(spec)[1] != run(replace(spec, seed=1))[1]


def test_the_checkpoint_of_another_spec_is_not_used(spec):
    undisturbed = run(replace(spec, seed=1))
    interrupt_at(spec, 7)
    assert run(replace(spec, seed=1)) == undisturbed


def test_a_damaged_checkpoint_is_not_used(spec):
    undisturbed = run(spec)
    (Path(spec.folder) / CHECKPOINT).write_bytes(b"\x00" * 100)
    assert run(spec) == undisturbed


def test_a_loss_that_is_not_finite_names_the_step(spec):
    with pytest.raises(LossNotFiniteError, match=r"at step [2-9]") as caught:
        train(replace(spec, learning_rate=1e38), lambda event: None)
    assert caught.value.step < 10
    assert "learning_rate below 1e+38" in str(caught.value)


def test_metrics_cover_the_run(spec):
    events: list[dict[str, object]] = []
    train(replace(spec, step_count=120), events.append)
    steps = [event["step"] for event in events if event["event"] == "metrics"]
    assert steps == list(range(2, 121, 2))
