"""The training loop: one run from its spec to its test result."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from servicekit.devices import find_device
from trainer import recipes
from trainer.checkpoints import Progress, restore, save, save_weights, step_of
from trainer.classifiers.building import Normaliser, build, create_optimizer
from trainer.classifiers.table import Classifier, classifiers
from trainer.data.loading import load, process_count
from trainer.data.samples import Batch, PlainBatches, RunImages, TrainingBatches, read_images
from trainer.distribution import Share, joined, share_newest, with_whole_batch_norm
from trainer.evaluation import class_scores, confusion_matrix, predict
from trainer.runs import RunResult, RunSpec
from trainer.strategies.base import Sources, Strategy

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "weights.safetensors"
PREDICTIONS = "predictions.npz"

_REPORTS = 50  # per run
_RECENT = 50  # steps whose mean loss is the final loss
# Processor threads that train while one process loads.
_THREADS_A_LOADER = 4

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
class Setup:
    """Everything that one optimiser step needs."""

    spec: RunSpec
    classifier: Classifier
    share: Share
    images: RunImages
    batches: TrainingBatches
    strategy: Strategy
    normalised: Normaliser
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
    setup = _set_up(spec, share, read_images(Path(spec.folder), spec.image_size))

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
    predicted, confidences = _predict(setup)
    np.savez(Path(spec.folder) / PREDICTIONS, labels=predicted, confidences=confidences)
    save_weights(Path(spec.folder) / WEIGHTS, setup.model, spec.card())
    return _result(spec, setup.images, predicted, progress)


def _optimise(setup: Setup, progress: Progress, emit: Emit) -> Progress:
    spec, checkpoint = setup.spec, Path(setup.spec.folder) / CHECKPOINT
    report_every = max(1, spec.step_count // _REPORTS)
    started = time.monotonic() - progress.seconds
    saved_at, reported_at, fresh = time.monotonic(), time.monotonic(), 0
    setup.model.train()
    for batch in _training_batches(setup, progress.step):
        # Update the weights.
        loss, accuracy = _update(setup, progress.step, batch)
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


def _training_batches(setup: Setup, first_step: int) -> Iterator[Batch]:
    spec, share = setup.spec, setup.share
    steps = range(first_step, spec.step_count)
    own_size = spec.batch_size // share.count
    processes = process_count(
        spec.loaders,
        image_count=len(steps) * own_size,
        batch_bytes=own_size * 3 * spec.image_size**2,
        most=_most_loaders(setup),
    )
    return load(setup.batches, steps, processes, pinned=setup.device.type == "cuda")


def _predict(setup: Setup) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    batches = PlainBatches(setup.images.test)
    processes = process_count(
        setup.spec.loaders,
        image_count=len(setup.images.test),
        batch_bytes=batches.size * 3 * setup.spec.image_size**2,
        most=_most_loaders(setup),
    )
    loaded = load(batches, range(len(batches)), processes, setup.device.type == "cuda")
    return predict(setup.model, loaded, setup.normalised, setup.device)


def _most_loaders(setup: Setup) -> int:
    """Beside a GPU all processors load; else most of them train."""
    threads = setup.spec.threads // setup.share.local_count
    if setup.device.type == "cuda":
        return max(1, threads - 1)
    return max(1, threads // _THREADS_A_LOADER)


def _update(setup: Setup, step: int, batch: Batch) -> tuple[float, float]:
    """Does one optimiser step, counted from 0. Returns the batch's loss and accuracy."""
    spec, strategy = setup.spec, setup.strategy

    # Move the batch.
    batch = Batch(*(part.to(setup.device, non_blocking=True) for part in batch))
    images = setup.normalised(batch.images)
    torch.manual_seed(_number(spec.seed, step) + setup.share.rank)  # for dropout

    # Update the weights.
    learning_rate = spec.learning_rate * strategy.learning_rate_factor(step)
    for group in setup.optimizer.param_groups:
        group["lr"] = learning_rate
    logits = strategy.logits(setup.trained, images, batch.synthetic)
    loss = strategy.loss(logits, batch.labels, setup.classifier.label_smoothing)
    hits = (logits.detach().argmax(1) == batch.labels).float().mean()
    mean_loss, accuracy = setup.share.mean(torch.stack([loss.detach(), hits])).tolist()
    if not isfinite(mean_loss):
        raise LossNotFiniteError(step + 1, spec.learning_rate)
    setup.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    setup.optimizer.step()
    return mean_loss, accuracy


def _set_up(spec: RunSpec, share: Share, images: RunImages) -> Setup:
    classifier = classifiers()[spec.classifier]
    strategy = _strategy(spec, classifier, images)
    network = build(classifier, len(spec.class_names))
    model = with_whole_batch_norm(strategy.adapt(network), share)
    device = share.device(find_device(spec.device, "TRAINER_DEVICE"))
    model.to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer(classifier, model.parameters(), spec.learning_rate)
    policy = recipes.load("policies", spec.policy).create(spec.image_size)
    return Setup(
        spec=spec,
        classifier=classifier,
        share=share,
        images=images,
        batches=TrainingBatches(images, strategy, policy, share, spec.seed),
        strategy=strategy,
        normalised=Normaliser(classifier, device),
        model=model,
        trained=share.trained(model, device),
        optimizer=optimizer,
        device=device,
    )


def _strategy(spec: RunSpec, classifier: Classifier, images: RunImages) -> Strategy:
    sources = Sources(
        labels=images.labels,
        real_count=images.real_count,
        class_count=len(spec.class_names),
        batch_size=spec.batch_size,
        step_count=spec.step_count,
        seed=spec.seed,
        schedule=classifier.schedule,
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


def _number(seed: int, step: int) -> int:
    """A 63-bit number of its own for every seed and step."""
    return int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> 1)
