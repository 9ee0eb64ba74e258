"""Checkpoints of a training run: model, optimiser and progress in one safetensors file.

No state of random generators is kept: every draw depends on the seed and the step alone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer


@dataclass(frozen=True)
class RunState:
    """How far a run is: steps done, seconds trained, and the losses of the latest steps.

    `reports` are the metrics so far: each has "step" and "values", by name. Of the steps since the
    last report, `unreported` is the number and `sums` are those of all metrics but the loss.
    """

    step: int = 0
    seconds: float = 0.0
    recent_losses: tuple[float, ...] = ()
    sums: tuple[float, ...] = ()
    unreported: int = 0
    reports: tuple[Mapping[str, Any], ...] = ()


def save(
    path: Path, spec_digest: str, model: Module, optimizer: Optimizer, progress: RunState
) -> None:
    """Replaces the checkpoint at `path` in one step; a crash leaves the old or the new one."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    facts = {"spec": spec_digest, "progress": asdict(progress)}
    _write(path, tensors, {"facts": json.dumps(facts)})


def restore(path: Path, spec_digest: str, model: Module, optimizer: Optimizer) -> RunState:
    """Loads the checkpoint at `path` into model and optimiser and returns its progress.

    Without a checkpoint, with a damaged one, or with that of another spec, nothing is loaded and
    the run starts anew.
    """
    if not path.exists():
        return RunState()
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            if facts.get("spec") != spec_digest:
                return RunState()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:  # the machine went down before the file reached the disk
        return RunState()
    model.load_state_dict(_under("model.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    kept = facts["progress"]
    lists = {name: tuple(kept[name]) for name in ("recent_losses", "sums", "reports")}
    return RunState(**{**kept, **lists})


def read_step(path: Path, spec_digest: str) -> int:
    """The step of the checkpoint at `path`; -1 without one that can be used."""
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (SafetensorError, OSError):
        return -1
    return int(facts["progress"]["step"]) if facts.get("spec") == spec_digest else -1


def save_weights(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Writes the weights and, as JSON under "facts", what is needed to build the model again."""
    _write(path, weights, {"facts": json.dumps(facts)})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    # Of several metadata entries safetensors writes an arbitrary order, and equal runs shall give
    # equal files.
    assert len(metadata) == 1
    staged = path.with_name(path.name + ".part")
    plain = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(plain, str(staged), metadata)
    staged.replace(path)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
