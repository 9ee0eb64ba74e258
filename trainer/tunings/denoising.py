"""The loss that diffusion models are trained with (Ho et al. 2020, Eq. 14).

A latent is noised to a random time of the model's own schedule, and the U-Net is asked for what its
scheduler says that it predicts: the noise, the latent, or the velocity (Salimans and Ho 2022).
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.errors import BrokenModel
from trainer.tunings.base import Setting


class Denoising:
    """The schedule of a model, and its loss."""

    def __init__(self, setting: Setting) -> None:
        """Raises BrokenModel for a scheduler that has no such schedule."""
        scheduler = setting.pipeline.scheduler
        kind = scheduler.config.get("prediction_type", "epsilon")
        if not hasattr(scheduler, "alphas_cumprod") or kind not in _TARGETS:
            raise BrokenModel(
                setting.card.name,
                f"its scheduler {type(scheduler).__name__} predicts {kind!r}; tuning knows those "
                f"with alphas_cumprod that predict {', '.join(_TARGETS)}",
            )
        self._setting, self._target = setting, _TARGETS[kind]
        self._products: Tensor = scheduler.alphas_cumprod.to(setting.placement.device).float()
        constant = setting.family.constant_inputs(setting.card)
        self._constant = {n: value.to(setting.placement.device) for n, value in constant.items()}

    @property
    def time_count(self) -> int:
        """The times of the schedule."""
        return len(self._products)

    def losses(self, latents: Tensor, times: Tensor, noise: Tensor, inputs: Inputs) -> Tensor:
        """The loss [n] of each of n latents [n, c, h, w], noised to `times` [n] with `noise`."""
        products = self._products[times][:, None, None, None]
        alphas, sigmas = products.sqrt(), (1 - products).sqrt()
        noisy = alphas * latents + sigmas * noise
        constant = {
            name: value.expand(len(latents), *value.shape)
            for name, value in self._constant.items()
            if name not in inputs
        }
        setting = self._setting
        with self._precision():
            unet = setting.pipeline.unet
            output = setting.family.call_unet(unet, noisy, times, {**constant, **inputs})
        wanted = self._target(latents, noise, alphas, sigmas)
        return (output.float() - wanted).square().flatten(1).mean(1)

    def _precision(self) -> AbstractContextManager[Any]:
        is_gpu = self._setting.placement.device.type == "cuda"
        return torch.autocast(self._setting.placement.device.type, torch.bfloat16, enabled=is_gpu)


def _noise(latents: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor) -> Tensor:
    return noise


def _latent(latents: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor) -> Tensor:
    return latents


def _velocity(latents: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor) -> Tensor:
    return alphas * noise - sigmas * latents


_TARGETS = {"epsilon": _noise, "sample": _latent, "v_prediction": _velocity}
