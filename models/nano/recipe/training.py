"""One training loop for every stage: time budget, EMA, checkpoints, a progress line."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY = 60.0  # seconds
REPORT_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The budget is wall-clock minutes, so that any machine finishes."""

    minutes: float
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.03  # share of the budget
    ema_decay: float = 0.998
    final: float = 0.01  # last learning rate as a share of the peak
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Trace:
    """What a stage took."""

    samples: int
    minutes: float
    loss: float


@dataclass
class _State:
    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan


class Trainer:
    """Trains the parameters of `module` that require gradients; resumes from `checkpoint`."""

    def __init__(self, module: nn.Module, schedule: Schedule, checkpoint: Path) -> None:
        self.module, self.schedule, self.checkpoint = module, schedule, checkpoint
        self.parameters: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        decayed = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            betas=schedule.betas,
        )
        self.state = _State()
        if checkpoint.is_file():
            self._load()

    def run(self, loss_of: Callable[[torch.Generator], Tensor]) -> Trace:
        """Steps until the budget is spent, then leaves the averaged weights in the module."""
        device = self.parameters[0].device
        started, saved, reported = time.monotonic(), time.monotonic(), 0.0
        before, first = self.state.seconds, self.state.step
        while self.progress < 1:
            generator = torch.Generator().manual_seed(self.state.step + 1)
            self._set_learning_rate()
            with torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device)):
                loss = loss_of(generator)
            self._update(loss)
            now = time.monotonic()
            self.state.seconds = before + now - started
            if now - reported > REPORT_EVERY:
                rate = (self.state.step - first) * self.schedule.batch_size / (now - started)
                self._report(rate)
                reported = now
            if now - saved > SAVE_EVERY:
                self._save()
                saved = now
        self._save()
        self._use_average()
        samples = self.state.step * self.schedule.batch_size
        return Trace(samples, round(self.state.seconds / 60, 2), round(self.state.loss, 4))

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 to 1."""
        if self.schedule.minutes <= 0:
            return 1.0
        return min(1.0, self.state.seconds / 60 / self.schedule.minutes)

    def _set_learning_rate(self) -> None:
        plan = self.schedule
        if self.progress < plan.warmup:
            share = (self.progress + 1e-3) / (plan.warmup + 1e-3)
        else:
            angle = math.pi * (self.progress - plan.warmup) / (1 - plan.warmup)
            share = plan.final + (1 - plan.final) * 0.5 * (1 + math.cos(angle))
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * share

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.state.step += 1
        decay = min(self.schedule.ema_decay, (1 + self.state.step) / (10 + self.state.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"loss became {value} at step {self.state.step}")
        known = math.isfinite(self.state.loss)
        self.state.loss = 0.98 * self.state.loss + 0.02 * value if known else value

    def _report(self, rate: float) -> None:
        left = max(0.0, self.schedule.minutes * 60 - self.state.seconds)
        seen = self.state.step * self.schedule.batch_size
        print(
            f"{self.checkpoint.stem:>14}  {self.progress:6.1%}  {seen:>9} samples  "
            f"{rate:7.1f}/s  loss {self.state.loss:.4f}  ETA {left:5.0f} s",
            file=sys.stderr,
            flush=True,
        )

    def _use_average(self) -> None:
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                parameter.copy_(average)
        self.module.eval()

    def _save(self) -> None:
        if self.schedule.minutes <= 0:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(
            {
                "module": self.module.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "state": vars(self.state),
            },
            partial,
        )
        partial.replace(self.checkpoint)

    def _load(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True)
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average = [
            a.to(p.device) for a, p in zip(saved["average"], self.parameters, strict=True)
        ]
        self.state = _State(**saved["state"])


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32: without AVX-512 a CPU emulates it, 15x slower."""
    if device.type != "cpu":
        return True
    return bool(torch.backends.cpu.get_cpu_capability() == "AVX512")


def trained(module: nn.Module) -> nn.Module:
    """Freezes a module for use inside another stage."""
    return module.eval().requires_grad_(False)
