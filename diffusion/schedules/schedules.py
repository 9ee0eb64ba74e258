"""The schedules of a model: its scheduler, with numbers of steps set."""

import copy
import logging
from typing import Any

import torch

from diffusion.errors import BadCondition
from diffusion.schedules.tables import Tables, why_no_table

_log = logging.getLogger(__name__)


class Schedules:
    """Schedulers like a pipeline's, one for each number of steps that was asked for.

    `tables` are their steps as coefficients; None if the scheduler has no such table.
    """

    def __init__(self, scheduler: Any, model: str, device: torch.device) -> None:
        self._scheduler, self._model, self._device = scheduler, model, device
        self._of_steps: dict[int, Any] = {}
        self.tables: Tables | None = None
        if why := why_no_table(scheduler):
            _log.info("model %s: samples are moved one by one, by no table: %s", model, why)
        else:
            self.tables = Tables(self._with_steps, scheduler, device)

    def of(self, steps: int) -> Any:
        """Returns a scheduler of its own, with its steps set.

        Raises BadCondition for more steps than it can make: one that is set off by some steps
        would begin beyond the noisiest it knows.
        """
        if steps not in self._of_steps:
            scheduler = self._with_steps(steps, self._device)
            known = int(scheduler.config.num_train_timesteps)
            if float(scheduler.timesteps.max()) >= known:
                most = known - int(scheduler.config.get("steps_offset", 0))
                raise BadCondition(
                    "steps",
                    "OUT_OF_RANGE",
                    f"model {self._model!r} cannot make {steps} steps; use at most {most}",
                )
            self._of_steps[steps] = scheduler
        return copy.deepcopy(self._of_steps[steps])

    def _with_steps(self, steps: int, device: torch.device | None = None) -> Any:
        scheduler = copy.deepcopy(self._scheduler)
        scheduler.set_timesteps(steps, device=device)
        return scheduler
