"""DDIM (Song et al., https://arxiv.org/abs/2010.02502): Eq. 12 without noise."""

from typing import Any

import torch
from torch import Tensor

from diffusion.schedules.steps import Solver, Steps, estimates


def solver(config: Any) -> Solver:
    """Returns the solver; DDIM forgets its past."""
    return Solver(clip=float(config.clip_sample_range) if config.clip_sample else None)


def steps(scheduler: Any, skipped: int) -> Steps:
    """Returns the steps after the first `skipped`."""
    config, times = scheduler.config, scheduler.timesteps[skipped:]
    previous = times - config.num_train_timesteps // scheduler.num_inference_steps
    # In float32 as the scheduler does it: for v-prediction the images are the same to the bit.
    here, there = products(scheduler, times), products(scheduler, previous)
    zeros = torch.zeros_like(here)
    return Steps(
        time=times,
        input_scale=torch.ones_like(here),
        **estimates(config.prediction_type, here**0.5, (1 - here) ** 0.5)._asdict(),
        to_clean=there**0.5,
        to_noise=(1 - there) ** 0.5,
        past_1=zeros,
        past_2=zeros,
        past_3=zeros,
        past_4=zeros,
    )


def products(scheduler: Any, times: Tensor) -> Tensor:
    """Returns the cumulative product of alphas at times; those below zero are after the last."""
    known: Tensor = scheduler.alphas_cumprod
    return torch.where(times >= 0, known[times.clamp(min=0)], scheduler.final_alpha_cumprod)
