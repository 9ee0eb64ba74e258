"""A loaded model: diffusers' own components, and the calls the engine makes to them."""

import copy

import torch
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from diffusion.card import ModelCard
from diffusion.embeddings import Inputs
from diffusion.encoders import Encoders
from diffusion.families.registry import family_of
from diffusion.fixed_shapes import in_chunks
from diffusion.loading import load_pipeline
from diffusion.row_limit import RowLimit
from diffusion.schedules.schedules import Schedules
from generator.engine.settings import EngineSettings

_MOST_ROWS = 4096


class LoadedModel:
    """The components of a pipeline on one device. Not thread-safe: the engine's worker owns it."""

    def __init__(self, card: ModelCard, settings: EngineSettings) -> None:
        placement = settings.placement()
        self.card = card
        self.family = family_of(card.pipeline, card.name)
        self.device, self.dtype = placement.device, placement.dtype
        self.pipeline = load_pipeline(card, placement)
        self.unet = self.pipeline.unet
        self.encoders = Encoders(self.pipeline, card, placement)
        self.autoencoder = Autoencoder(self.pipeline.vae, card, placement, settings.decode_batch)
        self.schedules = Schedules(self.pipeline.scheduler, card.name, placement.device)
        self.constant_inputs = self._constant_inputs()
        self._fixed_rows = settings.deterministic_rows
        self._predicting = RowLimit(_MOST_ROWS, "denoising")

    def with_unet(self, unet: torch.nn.Module, card: ModelCard) -> "LoadedModel":
        """Returns this model with another U-Net and its card; everything else is shared."""
        other = copy.copy(self)
        other.unet, other.card = unet, card
        other.constant_inputs = other._constant_inputs()
        return other

    def predict(self, latents: Tensor, times: Tensor, inputs: Inputs, *, fixed: bool) -> Tensor:
        """Returns the U-Net's output [n, c, h, w] for n rows, each at its own time.

        `fixed` rows run in calls of one shape. Otherwise they run in one call, or in smaller ones
        if the device's memory does not suffice.
        """
        names = list(inputs)

        def call(latents: Tensor, times: Tensor, *values: Tensor) -> Tensor:
            named = dict(zip(names, values, strict=True))
            return self.family.call_unet(self.unet, latents, times, named)

        rows = (latents.to(self.dtype), times, *inputs.values())
        if fixed:
            return in_chunks(call, rows, self._fixed_rows, pad=True)
        return self._predicting.apply(call, rows)

    def _constant_inputs(self) -> Inputs:
        constant = self.family.constant_inputs(self.card)
        return {name: tensor.to(self.device, self.dtype) for name, tensor in constant.items()}
