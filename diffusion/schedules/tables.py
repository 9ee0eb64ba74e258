"""Which schedulers have a table of coefficients, and the tables of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from diffusion.schedules import ddim, dpm_solver, euler, pndm
from diffusion.schedules.steps import Solver, Steps

# A sample of 50 steps has 2 KB of coefficients.
_KEPT = 256
_PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class _Kind:
    """A kind of scheduler, and the values of its options that the coefficients stand for."""

    solver: Callable[[Any], Solver]
    steps: Callable[[Any, int], Steps]
    values: Mapping[str, tuple[Any, ...]]


_KINDS: Mapping[str, _Kind] = {
    "DDIMScheduler": _Kind(
        ddim.solver, ddim.steps, {"prediction_type": _PREDICTIONS, "thresholding": (False,)}
    ),
    "EulerDiscreteScheduler": _Kind(euler.solver, euler.steps, {"prediction_type": _PREDICTIONS}),
    "DPMSolverMultistepScheduler": _Kind(
        dpm_solver.solver,
        dpm_solver.steps,
        {
            "prediction_type": _PREDICTIONS,
            "algorithm_type": ("dpmsolver++",),
            "solver_order": (1, 2),
            "thresholding": (False,),
            "use_flow_sigmas": (False,),
            "variance_type": (None,),
        },
    ),
    "PNDMScheduler": _Kind(
        pndm.solver,
        pndm.steps,
        {"prediction_type": ("epsilon", "v_prediction"), "skip_prk_steps": (True,)},
    ),
}


def why_no_table(scheduler: Any) -> str:
    """Says why the steps of a scheduler are not a table; empty if they are.

    Those that draw noise at every step or look at the latent itself, such as by thresholding, are
    no sums of what is known before.
    """
    name = type(scheduler).__name__
    if name not in _KINDS:
        return f"{name} has none; there are those of {', '.join(_KINDS)}"
    for option, values in _KINDS[name].values.items():
        if scheduler.config[option] not in values:
            known = " or ".join(map(repr, values))
            return f"{name} has one for {option}={known}, not {scheduler.config[option]!r}"
    return ""


def version_of(config: Mapping[str, Any]) -> int:
    """Returns the version of the arithmetic of a scheduler's steps, by its file's values.

    Version 1 are the bits of the scheduler's own steps. The tables sum in another order, save the
    one of DDIM with v-prediction.
    """
    name = config.get("_class_name")
    is_exact = name == "DDIMScheduler" and config.get("prediction_type") == "v_prediction"
    return 2 if name in _KINDS and not is_exact else 1


class Tables:
    """The steps of a model by their number, on its device. Only for what `why_no_table` passes."""

    def __init__(self, with_steps: Callable[[int], Any], scheduler: Any, device: torch.device):
        self._with_steps, self._device = with_steps, device
        self._kind = _KINDS[type(scheduler).__name__]
        self.solver = self._kind.solver(scheduler.config)
        self.rows = lru_cache(_KEPT)(self._rows)

    def _rows(self, steps: int, skipped: int) -> Tensor:
        """Returns a row for each step after the first `skipped` of `steps`."""
        return self._kind.steps(self._with_steps(steps), skipped).rows().to(self._device)
