"""What all jobs share: the steps from a spec to a result, with metrics and checkpoints."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from servicekit.devices import find_device
from trainer import recipes
from trainer.checkpoints import RunState, read_step, restore, save
from trainer.distribution import joined, share_newest
from trainer.event_log import EventLog
from trainer.jobs.base import Job
from trainer.runs import JobSpec

CHECKPOINT = "checkpoint.safetensors"

_REPORTS = 50  # per run
_RECENT = 50  # losses that are remembered
# Metrics that may wait on their device: to read them is to wait for it.
_UNREAD = 50

Event = dict[str, Any]
Emit = Callable[[Event], None]


class LossNotFiniteError(ArithmeticError):
    """The training loss became infinite or not a number; `step` counts from 1.

    `subject` is the field of the request that is to blame.
    """

    def __init__(self, step: int, spec: JobSpec) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; use a learning_rate below "
            f"{spec.learning_rate:g}"
        )
        self.step, self.subject = step, f"{spec.field}.learning_rate"


def read_spec(path: Path) -> JobSpec:
    """Reads the spec of a job of whichever kind."""
    values = json.loads(path.read_text(encoding="utf-8"))
    spec: JobSpec = recipes.load("jobs", values["job"]).Spec.of(values)
    return spec


def train(spec: JobSpec, emit: Emit) -> Any:
    """Does one job and returns its result. Raises LossNotFiniteError.

    Where several processes do it together, all but the first return None and leave nothing.

    The same spec gives the same result on one machine, interrupted or not. Emits a "metrics" event
    about fifty times a run and a "checkpoint" event after each checkpoint.
    """
    # Set up the machine.
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(spec.seed)
    device = find_device(spec.device, "TRAINER_DEVICE")
    with joined(device) as share:
        torch.set_num_threads(max(1, spec.threads // share.local_count))
        job: Job = recipes.load("jobs", spec.job).create(spec, share, share.device(device))

        # Go on from the checkpoint, if there is one.
        checkpoint = Path(spec.folder) / CHECKPOINT
        share_newest(checkpoint, read_step(checkpoint, spec.digest()), share)
        progress = restore(checkpoint, spec.digest(), job.model, job.optimizer)
        emit = _logged(emit, EventLog(Path(spec.folder))) if share.is_first else emit
        for report in progress.reports:  # The store may have kept fewer of them.
            emit({"event": "metrics", **report, "images_per_second": 0.0})

        progress = _Steps(spec, job, emit, keeps=share.is_first).run(progress)
        if not share.is_first:
            return None
        return job.finish(progress.recent_losses, progress.seconds)


def _logged(emit: Emit, log: EventLog) -> Emit:
    """Has TensorBoard told of what is emitted."""

    def tell(event: Event) -> None:
        if event["event"] == "metrics":
            log.add(event["step"], event["values"])
        emit(event)

    return tell


class _Steps:
    """The steps of a job, with what is told and kept of them."""

    def __init__(self, spec: JobSpec, job: Job, emit: Emit, keeps: bool) -> None:
        self._spec = spec
        self._job = job
        self._emit = emit
        self._keeps = keeps
        self._reported_at = self._saved_at = time.monotonic()
        self._fresh = 0  # steps since the last report, or since the start if that is later

    def run(self, progress: RunState) -> RunState:
        """Does the steps that are left."""
        spec, job = self._spec, self._job
        report_every = max(1, spec.step_count // _REPORTS)
        started = time.monotonic() - progress.seconds
        unread: list[Tensor] = []
        job.model.train()
        for step, batch in enumerate(job.batches(progress.step), progress.step + 1):
            unread.append(job.update(step - 1, batch))
            self._fresh += 1
            is_last = step == spec.step_count or job.is_done(step)
            is_told = is_last or step % report_every == 0
            # By the clock, since a step may take a minute.
            age = time.monotonic() - self._saved_at
            is_kept = self._keeps and not is_last and age >= spec.checkpoint_seconds
            if is_told or is_kept or len(unread) == _UNREAD:
                progress = self._read(progress, unread)
                progress = replace(progress, seconds=time.monotonic() - started)
                unread = []
            if is_told:
                progress = self._report(progress)
            if is_kept:
                self._save(progress)
            if is_last:
                break
        return progress

    def _read(self, progress: RunState, unread: list[Tensor]) -> RunState:
        losses = progress.recent_losses
        sums = progress.sums or (0.0,) * (len(self._job.metrics) - 1)
        for number, (loss, *others) in enumerate(torch.stack(unread).tolist(), 1):
            if not isfinite(loss):
                raise LossNotFiniteError(progress.step + number, self._spec)
            losses = (*losses, loss)[-_RECENT:]
            sums = tuple(total + value for total, value in zip(sums, others, strict=True))
        return replace(
            progress,
            step=progress.step + len(unread),
            recent_losses=losses,
            sums=sums,
            unreported=progress.unreported + len(unread),
        )

    def _report(self, progress: RunState) -> RunState:
        count, now = progress.unreported, time.monotonic()
        loss = float(np.mean(progress.recent_losses[-count:]))
        means = (loss, *(total / count for total in progress.sums))
        values = dict(zip(self._job.metrics, means, strict=True))
        values["learning_rate"] = self._job.optimizer.param_groups[0]["lr"]
        report = {"step": progress.step, "values": values}
        rate = self._fresh * self._spec.batch_size / max(now - self._reported_at, 1e-9)
        self._emit({"event": "metrics", **report, "images_per_second": rate})
        self._reported_at, self._fresh = now, 0
        return replace(progress, reports=(*progress.reports, report), sums=(), unreported=0)

    def _save(self, progress: RunState) -> None:
        path = Path(self._spec.folder) / CHECKPOINT
        save(path, self._spec.digest(), self._job.model, self._job.optimizer, progress)
        self._emit({"event": "checkpoint", "step": progress.step})
        self._saved_at = time.monotonic()
