"""Samples of schedulers that no table of coefficients stands for: each is moved by its own."""

import inspect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.engine.sample import Sample

# Schedulers whose step depends on its arguments alone. Others remember earlier steps of a sample.
_FORGETFUL = ("DDIMScheduler", "DDPMScheduler")


@dataclass(eq=False)
class _Course:
    """A sample between noise and latent. `draws_noise` says if its steps do."""

    sample: Sample
    latent: Tensor
    times: list[Tensor]
    draws_noise: bool
    position: int = 0

    @property
    def pace(self) -> Hashable:
        """Samples of equal pace are moved by the same step."""
        if type(self.sample.scheduler).__name__ not in _FORGETFUL:
            return id(self)
        return (self.sample.item.steps, len(self.times) - self.position)

    @property
    def time(self) -> Tensor:
        """The time of the next step."""
        return self.times[self.position]

    def scaled_latent(self) -> Tensor:
        """Returns the latent as the U-Net wants it, [1, c, h, w]."""
        scaled: Tensor = self.sample.scheduler.scale_model_input(self.latent, self.time)
        return scaled


class SchedulerBatch:
    """Samples with a scheduler of diffusers each."""

    def __init__(self) -> None:
        self._courses: list[_Course] = []

    def join(self, samples: Sequence[Sample]) -> None:
        self._courses += [_course(sample) for sample in samples]

    def keep(self, numbers: Sequence[int]) -> None:
        self._courses = [self._courses[number] for number in numbers]

    def questions(self) -> tuple[Tensor, Tensor]:
        latents = torch.cat([course.scaled_latent() for course in self._courses])
        return latents, torch.stack([course.time.float() for course in self._courses])

    def move(self, outputs: Tensor) -> None:
        by_pace: dict[Hashable, list[tuple[_Course, Tensor]]] = {}
        for course, output in zip(self._courses, outputs.float().split(1), strict=True):
            by_pace.setdefault(course.pace, []).append((course, output))
        for group in by_pace.values():
            _step([course for course, _ in group], torch.cat([output for _, output in group]))

    def latents(self, numbers: Sequence[int]) -> Tensor:
        return torch.cat([self._courses[number].latent for number in numbers])


def _course(sample: Sample) -> _Course:
    scheduler = sample.scheduler
    times = list(scheduler.timesteps[sample.skipped :])
    draws_noise = "generator" in inspect.signature(scheduler.step).parameters
    return _Course(sample, sample.latent, times, draws_noise)


def _step(courses: Sequence[_Course], outputs: Tensor) -> None:
    """Moves samples of one pace one step on, by the guided outputs [n, c, h, w]."""
    first = courses[0]
    # Each item's noise comes from its own generator.
    generators = [course.sample.generator for course in courses]
    options = {"generator": generators} if first.draws_noise else {}
    latents = torch.cat([course.latent for course in courses])
    moved = first.sample.scheduler.step(outputs, first.time, latents, return_dict=False, **options)
    for course, latent in zip(courses, moved[0].split(1), strict=True):
        course.latent = latent
        course.position += 1
