"""DPM-Solver++ 2M (Lu et al., https://arxiv.org/abs/2211.01095, Alg. 2), and its first order."""

from typing import Any

import torch
from torch import Tensor

from diffusion.schedules.steps import Solver, Steps, estimates

# Below so many steps the last ones are of lower order, where the scheduler is told so.
_FEW = 15


def solver(config: Any) -> Solver:
    """Returns the solver: the second order needs the estimate before."""
    return Solver(depth=config.solver_order - 1, recalls_clean=True)


def steps(scheduler: Any, skipped: int) -> Steps:
    """Returns the steps after the first `skipped`."""
    sigmas = scheduler.sigmas.double()
    alphas = (sigmas**2 + 1) ** -0.5
    sigmas = sigmas * alphas
    here, there = slice(skipped, -1), slice(skipped + 1, None)
    correction = _correction(scheduler, alphas, sigmas)[skipped:]
    correction[0] = 0  # Nothing is remembered yet.
    zeros = torch.zeros_like(correction)
    found = estimates(scheduler.config.prediction_type, alphas[here], sigmas[here])
    return Steps(
        time=scheduler.timesteps[skipped:],
        input_scale=torch.ones_like(correction),
        **found._asdict(),
        to_clean=alphas[there] + correction,
        to_noise=sigmas[there],
        past_1=-correction,
        past_2=zeros,
        past_3=zeros,
        past_4=zeros,
    )


def _correction(scheduler: Any, alphas: Tensor, sigmas: Tensor) -> Tensor:
    """Returns the weight, at each step, of how the estimate changed since the step before."""
    config, count = scheduler.config, len(scheduler.timesteps)
    levels = alphas.log() - sigmas.log()
    growth = levels.diff()  # h of the paper; infinite where the last step ends without noise
    decay = alphas[1:] - sigmas[1:] * alphas[:-1] / sigmas[:-1]  # alpha' * (1 - exp(-h))
    share = decay / 2 if config.solver_type == "midpoint" else alphas[1:] - decay / growth
    before = growth.roll(1)
    # Karras' levels may end at the last twice: a step of no size has no correction.
    weights = torch.where(growth == 0, 0, share * growth / before)
    is_few = config.lower_order_final and count < _FEW
    if config.solver_order == 1:
        weights[:] = 0
    if is_few or config.euler_at_final or config.final_sigmas_type == "zero":
        weights[-1] = 0
    return weights
