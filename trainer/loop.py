"""The training loop: one run from its spec to its test result."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from servicekit.devices import find_device
from trainer import recipes
from trainer.checkpoints import Progress, restore, save, save_weights, step_of
from trainer.distribution import Share, joined, share_newest, with_whole_batch_norm
from trainer.evaluation import class_scores, confusion_matrix, normalised, predict
from trainer.runs import RunResult, RunSpec
from trainer.strategies.base import Sources, Strategy

CHECKPOINT, WEIGHTS, ROWS = "checkpoint.safetensors", "weights.safetensors", "rows.npz"
PREDICTIONS = "predictions.npz"

_REPORTS = 50  # per run
_RECENT = 50  # steps whose mean loss is the final loss
_WEIGHT_DECAY = 0.05
_LABEL_SMOOTHING = 0.1
_POLICY_STREAM = 2

Event = dict[str, Any]
Emit = Callable[[Event], None]


class LossNotFiniteError(ArithmeticError):
    """The training loss became infinite or not a number; `step` counts from 1."""

    def __init__(self, step: int, learning_rate: float) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; use a learning_rate below {learning_rate:g}"
        )
        self.step = step


@dataclass(frozen=True)
class RunImages:
    """The images of a run, uint8 [N, H, W, 3], and labels [N]; real training images come first."""

    train: Tensor
    labels: NDArray[np.int64]
    real_count: int
    test: Tensor
    test_labels: NDArray[np.int64]


def read_images(folder: Path) -> RunImages:
    """Reads the images that `rows.npz` chooses from decoded manifests.

    It holds the file of each part (`real_path`, `synthetic_path`), the rows of it (`train_rows`,
    `test_rows`, `synthetic_rows`) and labels (`train_labels`, with the synthetic ones last, and
    `test_labels`).
    """
    rows = np.load(folder / ROWS)
    real = np.load(str(rows["real_path"]), mmap_mode="r")
    train = real[rows["train_rows"]]
    if len(rows["synthetic_rows"]):
        synthetic = np.load(str(rows["synthetic_path"]), mmap_mode="r")
        train = np.concatenate([train, synthetic[rows["synthetic_rows"]]])
    return RunImages(
        train=torch.from_numpy(train),
        labels=rows["train_labels"],
        real_count=len(rows["train_rows"]),
        test=torch.from_numpy(real[rows["test_rows"]]),
        test_labels=rows["test_labels"],
    )


@dataclass(frozen=True)
class Setup:
    """Everything that one optimiser step needs. Images stay in main memory, batches move."""

    spec: RunSpec
    share: Share
    images: RunImages
    strategy: Strategy
    policy: ModuleType
    model: Module
    trained: Module  # the model as training calls it
    optimizer: torch.optim.Optimizer
    device: torch.device


def train(spec: RunSpec, emit: Emit) -> RunResult | None:
    """Trains and tests one classifier. Raises LossNotFiniteError.

    Where several processes train it together, all but the first return None and leave nothing.

    The same spec gives the same result on one machine, interrupted or not. Emits a "metrics" event
    about fifty times a run and a "checkpoint" event after each checkpoint. What comes out lies in
    the spec's folder: `weights.safetensors`, and `predictions.npz` with `labels` and `confidences`
    of the test images.
    """
    # Set up the machine.
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(spec.seed)
    with joined(find_device(spec.device, "TRAINER_DEVICE")) as share:
        torch.set_num_threads(max(1, spec.threads // share.local_count))
        return _train(spec, share, emit)


def _train(spec: RunSpec, share: Share, emit: Emit) -> RunResult | None:
    # Load the images; build classifier, strategy and optimiser.
    setup = _set_up(spec, share, read_images(Path(spec.folder)))

    # Go on from the checkpoint, if there is one.
    checkpoint = Path(spec.folder) / CHECKPOINT
    share_newest(checkpoint, step_of(checkpoint, spec.digest()), share)
    progress = restore(checkpoint, spec.digest(), setup.model, setup.optimizer)
    for report in progress.reports:  # The store may have kept fewer of them.
        emit({"event": "metrics", **report, "images_per_second": 0.0})

    # Train.
    progress = _optimise(setup, progress, emit)
    if not share.is_first:
        return None

    # Test and keep the weights.
    predicted, confidences = predict(setup.model, setup.images.test, setup.device)
    np.savez(Path(spec.folder) / PREDICTIONS, labels=predicted, confidences=confidences)
    save_weights(Path(spec.folder) / WEIGHTS, setup.model, spec.card())
    return _result(spec, setup.images, predicted, progress)


def _optimise(setup: Setup, progress: Progress, emit: Emit) -> Progress:
    spec, checkpoint = setup.spec, Path(setup.spec.folder) / CHECKPOINT
    report_every = max(1, spec.step_count // _REPORTS)
    started = time.monotonic() - progress.seconds
    saved_at, reported_at, fresh = time.monotonic(), time.monotonic(), 0
    setup.model.train()
    while progress.step < spec.step_count:
        # Update the weights.
        loss, accuracy = _update(setup, progress.step)
        now, fresh = time.monotonic(), fresh + 1
        progress = replace(
            progress,
            step=progress.step + 1,
            seconds=now - started,
            recent_losses=(*progress.recent_losses, loss)[-_RECENT:],
            hits=progress.hits + accuracy,
            unreported=progress.unreported + 1,
        )

        # Report.
        if progress.step % report_every == 0 or progress.step == spec.step_count:
            report = _report(progress, setup.optimizer.param_groups[0]["lr"])
            rate = fresh * spec.batch_size / max(now - reported_at, 1e-9)
            emit({"event": "metrics", **report, "images_per_second": rate})
            progress = replace(
                progress, reports=(*progress.reports, report), hits=0.0, unreported=0
            )
            reported_at, fresh = now, 0

        # Keep what is done: by the clock, since a step may take a minute.
        is_due = now - saved_at >= spec.checkpoint_seconds and setup.share.is_first
        if is_due and progress.step < spec.step_count:
            save(checkpoint, spec.digest(), setup.model, setup.optimizer, progress)
            emit({"event": "checkpoint", "step": progress.step})
            saved_at = time.monotonic()
    return progress


def _report(progress: Progress, learning_rate: float) -> Event:
    count = progress.unreported
    values = {
        "loss": float(np.mean(progress.recent_losses[-count:])),
        "train_accuracy": progress.hits / count,
        "learning_rate": learning_rate,
    }
    return {"step": progress.step, "values": values}


def _update(setup: Setup, step: int) -> tuple[float, float]:
    """Does one optimiser step, counted from 0. Returns the batch's loss and accuracy."""
    spec, images, strategy = setup.spec, setup.images, setup.strategy

    # Draw the batch.
    rows = torch.from_numpy(strategy.rows(step))
    changed = setup.policy.apply(images.train[rows], _generator(spec.seed, step))
    changed, rows = setup.share.of_batch(changed), setup.share.of_batch(rows)
    batch = normalised(changed.to(setup.device))
    labels = torch.from_numpy(images.labels)[rows].to(setup.device)
    synthetic = (rows >= images.real_count).to(setup.device)
    torch.manual_seed(_number(spec.seed, step, 0) + setup.share.rank)  # for dropout

    # Update the weights.
    learning_rate = spec.learning_rate * strategy.learning_rate_factor(step)
    for group in setup.optimizer.param_groups:
        group["lr"] = learning_rate
    logits = strategy.logits(setup.trained, batch, synthetic)
    loss = strategy.loss(logits, labels, _LABEL_SMOOTHING)
    hits = (logits.detach().argmax(1) == labels).float().mean()
    mean_loss, accuracy = setup.share.mean(torch.stack([loss.detach(), hits])).tolist()
    if not isfinite(mean_loss):
        raise LossNotFiniteError(step + 1, spec.learning_rate)
    setup.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    setup.optimizer.step()
    return mean_loss, accuracy


def _set_up(spec: RunSpec, share: Share, images: RunImages) -> Setup:
    strategy = _strategy(spec, images)
    classifier = recipes.load("classifiers", spec.classifier).build(len(spec.class_names))
    model = with_whole_batch_norm(strategy.adapt(classifier), share)
    device = share.device(find_device(spec.device, "TRAINER_DEVICE"))
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        model.parameters(), spec.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    policy = recipes.load("policies", spec.policy)
    trained = share.trained(model, device)
    return Setup(spec, share, images, strategy, policy, model, trained, optimizer, device)


def _strategy(spec: RunSpec, images: RunImages) -> Strategy:
    sources = Sources(
        labels=images.labels,
        real_count=images.real_count,
        class_count=len(spec.class_names),
        batch_size=spec.batch_size,
        step_count=spec.step_count,
        seed=spec.seed,
    )
    strategy: Strategy = recipes.load("strategies", spec.strategy).create(sources)
    return strategy


def _result(
    spec: RunSpec, images: RunImages, predicted: NDArray[np.int64], progress: Progress
) -> RunResult:
    matrix = confusion_matrix(images.test_labels, predicted, len(spec.class_names))
    return RunResult(
        accuracy=float(matrix.trace() / matrix.sum()),
        classes=class_scores(matrix, spec.class_names),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        real_image_count=images.real_count,
        synthetic_image_count=len(images.labels) - images.real_count,
        test_image_count=len(images.test_labels),
        seconds=progress.seconds,
        final_loss=float(np.mean(progress.recent_losses)),
    )


def _number(seed: int, step: int, stream: int) -> int:
    """A 63-bit number of its own for every seed, step and use."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> 1)


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(_number(seed, step, _POLICY_STREAM))
