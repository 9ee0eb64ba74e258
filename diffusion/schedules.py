"""The schedules of a model: its scheduler, with numbers of steps set."""

import copy
from typing import Any

import torch

from diffusion.errors import BadCondition


class Schedules:
    """Schedulers like a pipeline's, one for each number of steps that was asked for."""

    def __init__(self, scheduler: Any, model: str, device: torch.device) -> None:
        self._scheduler, self._model, self._device = scheduler, model, device
        self._of_steps: dict[int, Any] = {}

    def of(self, steps: int) -> Any:
        """Returns a scheduler of its own, with its steps set.

        Raises BadCondition for more steps than it can make: one that is set off by some steps
        would begin beyond the noisiest it knows.
        """
        if steps not in self._of_steps:
            scheduler = copy.deepcopy(self._scheduler)
            scheduler.set_timesteps(steps, device=self._device)
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
