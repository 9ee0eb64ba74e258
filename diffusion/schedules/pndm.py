"""PNDM without Runge-Kutta steps, which is PLMS (Liu et al., https://arxiv.org/abs/2202.09778)."""

from typing import Any

import torch
from torch import Tensor

from diffusion.schedules.ddim import products
from diffusion.schedules.steps import Solver, Steps, estimates

# What a step follows is a sum of the newest output and of earlier ones, the last before first
# (Eq. 12). The second step makes the first anew; its output is not remembered.
_WEIGHTS = torch.tensor(
    [
        [1, 0, 0, 0, 0],
        [1 / 2, 1 / 2, 0, 0, 0],
        [3 / 2, 0, -1 / 2, 0, 0],
        [23 / 12, -16 / 12, 0, 5 / 12, 0],
        [55 / 24, -59 / 24, 37 / 24, 0, -9 / 24],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24, 0],
    ],
    dtype=torch.float64,
)


def solver(config: Any) -> Solver:
    """Returns the solver: four outputs are remembered, one of which does not count."""
    return Solver(depth=4)


def steps(scheduler: Any, skipped: int) -> Steps:
    """Returns the steps after the first `skipped`."""
    times, kind = scheduler.timesteps[skipped:], scheduler.config.prediction_type
    alphas = products(scheduler, times).double()
    alpha, sigma = alphas.sqrt(), (1 - alphas).sqrt()
    keep, push = _transfer(scheduler, times)
    weights = -push[:, None] * _WEIGHTS[torch.arange(len(times)).clamp(max=len(_WEIGHTS) - 1)]
    if len(times) > 1:  # Back to where the first step began, and on from there.
        keep[1] /= keep[0]
        weights[1, 1] += keep[1] * push[0]
    newest, *past = weights.unbind(1)
    if kind == "epsilon":
        to_clean, to_noise = keep * alpha, keep * sigma + newest
    else:  # The output is alpha * noise - sigma * clean.
        to_clean, to_noise = keep * alpha - newest * sigma, keep * sigma + newest * alpha
    return Steps(
        times,
        torch.ones_like(alpha),
        *estimates(kind, alpha, sigma),
        to_clean,
        to_noise,
        *past,
    )


def _transfer(scheduler: Any, times: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a and b of Eq. 9 as next = a * latent - b * output, for the steps at `times`."""
    config = scheduler.config
    stride = config.num_train_timesteps // scheduler.num_inference_steps
    here, there = times.clone(), times - stride
    here[1:2] += stride
    there[1:2] += stride
    old, new = products(scheduler, here).double(), products(scheduler, there).double()
    keep = (new / old).sqrt()
    push = (new - old) / (old * (1 - new).sqrt() + (old * (1 - old) * new).sqrt())
    if config.prediction_type == "epsilon":
        return keep, push
    return keep - push * (1 - old).sqrt(), push * old.sqrt()
