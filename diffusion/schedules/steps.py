"""Steps as coefficients: one step of any mix of samples is a few operations on all of them.

A scheduler moves a latent by what the model says of it. From both come an estimate of the clean
latent and one of the noise in it, and the next latent is a sum of the two; schedulers of higher
order add what was estimated in earlier steps. They differ in their coefficients alone:

    clean = clean_latent * latent + clean_output * output
    noise = noise_latent * latent + noise_output * output
    next  = to_clean * clean + to_noise * noise + past_1 * past[0] + past_2 * past[1] + ...
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Steps(NamedTuple):
    """The coefficients of steps, a column of equal length each.

    `time` is when the model is asked, of the latent times `input_scale`.
    """

    time: Tensor
    input_scale: Tensor
    clean_latent: Tensor
    clean_output: Tensor
    noise_latent: Tensor
    noise_output: Tensor
    to_clean: Tensor
    to_noise: Tensor
    past_1: Tensor
    past_2: Tensor
    past_3: Tensor
    past_4: Tensor

    def rows(self) -> Tensor:
        """Returns a row of float32 for each step, [steps, columns]."""
        return torch.stack([column.float() for column in self], dim=1)

    @classmethod
    def at(cls, rows: Tensor) -> "Steps":
        """Returns the columns of rows [n, columns], each [n, 1, 1, 1] beside latents."""
        return cls(*rows.T[..., None, None, None].unbind())


@dataclass(frozen=True)
class Solver:
    """What the steps of a scheduler have in common, whatever their number.

    `depth` is how many earlier steps count: their estimates of the clean latent, or their outputs
    if not `recalls_clean`. Estimates of the clean latent are kept within `clip` of zero.
    """

    depth: int = 0
    recalls_clean: bool = False
    clip: float | None = None

    def new_past(self, latents: Tensor) -> Tensor:
        """Returns the past [n, depth, c, h, w] of latents [n, c, h, w] that begin."""
        count, *shape = latents.shape
        return latents.new_zeros((count, self.depth, *shape))

    def move(
        self, steps: Steps, latents: Tensor, outputs: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Makes one step of every sample. Returns the next latents and past."""
        clean = steps.clean_latent * latents + steps.clean_output * outputs
        if self.clip is not None:
            clean = clean.clamp(-self.clip, self.clip)
        noise = steps.noise_latent * latents + steps.noise_output * outputs
        moved = steps.to_clean * clean + steps.to_noise * noise
        if not self.depth:
            return moved, past
        weights = (steps.past_1, steps.past_2, steps.past_3, steps.past_4)
        for weight, earlier in zip(weights, past.unbind(1), strict=False):
            moved = moved + weight * earlier
        newest = clean if self.recalls_clean else outputs.to(past.dtype)
        return moved, torch.cat([newest[:, None], past[:, :-1]], dim=1)


class Estimates(NamedTuple):
    """The coefficients of both estimates, for latent = alpha * clean + sigma * noise."""

    clean_latent: Tensor
    clean_output: Tensor
    noise_latent: Tensor
    noise_output: Tensor


def estimates(prediction_type: str, alpha: Tensor, sigma: Tensor) -> Estimates:
    """Returns how to estimate from what models of this type predict; alpha^2 + sigma^2 = 1."""
    zeros, ones = torch.zeros_like(alpha), torch.ones_like(alpha)
    match prediction_type:
        case "epsilon":
            return Estimates(1 / alpha, -sigma / alpha, zeros, ones)
        case "sample" | "original_sample":
            return Estimates(zeros, ones, 1 / sigma, -alpha / sigma)
        case "v_prediction":
            return Estimates(alpha, -sigma, sigma, alpha)
    raise ValueError(f"models that predict {prediction_type!r} have no coefficients")
