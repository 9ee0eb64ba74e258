"""Euler's method on the noise level (Karras et al., https://arxiv.org/abs/2206.00364, Alg. 1)."""

from typing import Any

import torch

from diffusion.schedules.steps import Solver, Steps, estimates


def solver(config: Any) -> Solver:
    """Returns the solver; Euler's method forgets its past."""
    return Solver()


def steps(scheduler: Any, skipped: int) -> Steps:
    """Returns the steps after the first `skipped`.

    Here latent = clean + sigma * noise; the model sees it scaled to a variance of one.
    """
    sigmas, count = scheduler.sigmas.double(), len(scheduler.timesteps)
    here, there = sigmas[skipped:count], sigmas[skipped + 1 : count + 1]
    scale = (here**2 + 1) ** -0.5
    found = estimates(scheduler.config.prediction_type, scale, here * scale)
    zeros = torch.zeros_like(here)
    return Steps(
        time=scheduler.timesteps[skipped:],
        input_scale=scale,
        clean_latent=found.clean_latent * scale,
        clean_output=found.clean_output,
        noise_latent=found.noise_latent * scale,
        noise_output=found.noise_output,
        to_clean=torch.ones_like(here),
        to_noise=there,
        past_1=zeros,
        past_2=zeros,
        past_3=zeros,
        past_4=zeros,
    )
