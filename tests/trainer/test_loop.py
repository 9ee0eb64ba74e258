"""The training loop in this process, on images of three plain colours."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.loop import CHECKPOINT, WEIGHTS, LossNotFiniteError, train
from trainer.runs import RunResult, RunSpec, result_from_json, result_to_json

TRAIN, TEST = 18, 9


@pytest.fixture(autouse=True)
def plain_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    draw = np.random.default_rng(0)
    labels = np.arange(2 * TRAIN + TEST) % 3
    images = draw.integers(0, 90, (len(labels), 16, 16, 3), np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 120
    np.save(tmp_path / "real.npy", images[: TRAIN + TEST])
    np.save(tmp_path / "synthetic.npy", images[TRAIN + TEST :])
    np.savez(
        tmp_path / "rows.npz",
        real_path=str(tmp_path / "real.npy"),
        synthetic_path=str(tmp_path / "synthetic.npy"),
        train_rows=np.arange(TRAIN),
        test_rows=np.arange(TRAIN, TRAIN + TEST),
        synthetic_rows=np.arange(TRAIN),
        train_labels=np.concatenate([labels[:TRAIN], labels[TRAIN + TEST :]]),
        test_labels=labels[TRAIN : TRAIN + TEST],
    )
    return RunSpec(
        folder=str(tmp_path),
        data_digest="colours",
        class_names=("red", "green", "blue"),
        strategy="combined",
        policy="standard",
        classifier="cnn4",
        step_count=24,
        batch_size=8,
        learning_rate=0.01,
        seed=2**64 - 1,
        image_size=16,
        threads=1,
        checkpoint_seconds=1e9,
    )


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
    assert result_from_json(result_to_json(result)) == result


@pytest.mark.parametrize("strategy", ["combined", "two_phase", "half_half"])
@pytest.mark.parametrize("policy", ["standard", "randaugment"])
def test_an_interrupted_run_ends_as_an_undisturbed_one(spec, strategy, policy):
    spec = replace(spec, strategy=strategy, policy=policy)
    undisturbed = run(spec)
    interrupt_at(spec, 7)
    interrupt_at(spec, 20)
    assert run(spec) == undisturbed


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
