"""A loaded model: diffusers' own components, and the calls the engine makes to them."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from generator.engine.card import Card
from generator.engine.encoders import ENCODER_ROWS, Encoders
from generator.engine.errors import BadCondition
from generator.engine.pipelines import load_pipeline
from generator.engine.pixels import to_tensor
from generator.engine.row_limit import RowLimit
from generator.engine.settings import EngineSettings
from generator.engine.shapes import in_chunks
from servicekit.devices import find_device

_MOST_ROWS = 4096


class Model:
    """The components of a pipeline on one device. Not thread-safe: the engine's worker owns it."""

    def __init__(self, card: Card, settings: EngineSettings) -> None:
        self.card = card
        self.device = find_device(settings.device, "GENERATOR_DEVICE")
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self._settings = settings
        self.pipeline = load_pipeline(card, settings)
        self.unet = self.pipeline.unet
        self.encoders = Encoders(self.pipeline, card, settings)
        self.latent_shape = self._latent_shape()
        self._predicting = RowLimit(_MOST_ROWS, "denoising")
        self._decoding = RowLimit(settings.decode_batch, "decoding")
        self._schedules: dict[int, Any] = {}

    def with_unet(self, unet: torch.nn.Module) -> "Model":
        """Returns this model with another U-Net; everything else is shared."""
        other = copy.copy(self)
        other.unet = unet
        return other

    def schedule(self, steps: int) -> Any:
        """Returns a scheduler of its own, with its steps set.

        Raises BadCondition for more steps than it can make: one that is set off by some steps
        would begin beyond the noisiest it knows.
        """
        if steps not in self._schedules:
            scheduler = copy.deepcopy(self.pipeline.scheduler)
            scheduler.set_timesteps(steps, device=self.device)
            known = int(scheduler.config.num_train_timesteps)
            if float(scheduler.timesteps.max()) >= known:
                most = known - int(scheduler.config.get("steps_offset", 0))
                raise BadCondition(
                    "steps",
                    "OUT_OF_RANGE",
                    f"model {self.card.name!r} cannot make {steps} steps; use at most {most}",
                )
            self._schedules[steps] = scheduler
        return copy.deepcopy(self._schedules[steps])

    def posteriors(self, images: Sequence[Image.Image]) -> list[Any]:
        """Returns the distribution of the unscaled latent [1, c, h, w] of each image."""
        card = self.card
        pixels = torch.stack([to_tensor(image, card.width, card.height) for image in images])
        pixels = pixels.to(self.device, self.dtype)

        kinds: list[type] = []

        def encode(rows: Tensor) -> Tensor:
            posterior = self.pipeline.vae.encode(rows).latent_dist
            kinds.append(type(posterior))
            parameters: Tensor = posterior.parameters
            return parameters

        moments = in_chunks(encode, (pixels,), ENCODER_ROWS, pad=True)
        return [kinds[0](row[None]) for row in moments]

    def decode(self, latents: Tensor, *, fixed: bool) -> Tensor:
        """Returns the images [n, 3, height, width] of scaled latents [n, c, h, w].

        `fixed` latents are decoded in calls of one shape; others in smaller ones if the device's
        memory does not suffice.
        """

        def decode(rows: Tensor) -> Tensor:
            image: Tensor = self.pipeline.vae.decode(rows, return_dict=False)[0]
            return image

        inputs = (latents / self.scaling_factor,)
        if fixed:
            return in_chunks(decode, inputs, self._settings.decode_batch, pad=True)
        return self._decoding.apply(decode, inputs)

    def predict(
        self, latents: Tensor, times: Tensor, texts: Tensor, labels: Tensor | None, *, fixed: bool
    ) -> Tensor:
        """Returns the U-Net's output [n, c, h, w] for n rows, each at its own time.

        `fixed` rows run in calls of one shape. Otherwise they run in one call, or in smaller ones
        if the device's memory does not suffice.
        """
        inputs = (latents, times, texts, labels)
        if fixed:
            return in_chunks(self._unet, inputs, self._settings.deterministic_rows, pad=True)
        return self._predicting.apply(self._unet, inputs)

    @property
    def scaling_factor(self) -> float:
        """The factor between the autoencoder's latents and the U-Net's."""
        return float(self.pipeline.vae.config.scaling_factor)

    def _unet(self, latents: Tensor, times: Tensor, texts: Tensor, labels: Tensor | None) -> Tensor:
        output: Tensor = self.unet(
            latents, times, encoder_hidden_states=texts, class_labels=labels, return_dict=False
        )[0]
        return output

    def _latent_shape(self) -> tuple[int, int, int, int]:
        vae = self.pipeline.vae.config
        scale = 2 ** (len(vae.block_out_channels) - 1)
        return (1, int(vae.latent_channels), self.card.height // scale, self.card.width // scale)
