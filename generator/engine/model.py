"""A loaded model: diffusers' own components, and the calls the engine makes to them."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from generator.engine.card import Card
from generator.engine.encoders import ENCODER_ROWS, Encoders
from generator.engine.pipelines import load_pipeline
from generator.engine.pixels import to_tensor
from generator.engine.settings import EngineSettings
from generator.engine.shapes import in_chunks
from servicekit.devices import find_device

_log = logging.getLogger(__name__)


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
        self._row_limit = 4096
        self._schedules: dict[int, Any] = {}

    def with_unet(self, unet: torch.nn.Module) -> "Model":
        """Returns this model with another U-Net; everything else is shared."""
        other = copy.copy(self)
        other.unet = unet
        return other

    def schedule(self, steps: int) -> Any:
        """Returns a scheduler of its own, with its steps set."""
        if steps not in self._schedules:
            scheduler = copy.deepcopy(self.pipeline.scheduler)
            scheduler.set_timesteps(steps, device=self.device)
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

        `fixed` latents are decoded in calls of one shape; others in half of it if the device's
        memory does not suffice.
        """

        def decode(rows: Tensor) -> Tensor:
            image: Tensor = self.pipeline.vae.decode(rows, return_dict=False)[0]
            return image

        inputs, size = (latents / self.scaling_factor,), self._settings.decode_batch
        if fixed:
            return in_chunks(decode, inputs, size, pad=True)
        try:
            return in_chunks(decode, inputs, size, pad=False)
        except torch.OutOfMemoryError:
            _free_memory("decoding", half := max(1, min(size, len(latents)) // 2))
            return in_chunks(decode, inputs, half, pad=False)

    def predict(
        self, latents: Tensor, times: Tensor, texts: Tensor, labels: Tensor | None, *, fixed: bool
    ) -> Tensor:
        """Returns the U-Net's output [n, c, h, w] for n rows, each at its own time.

        `fixed` rows run in calls of one shape. Otherwise they run in one call, and if the device's
        memory does not suffice once more in halves of it; later calls begin with that size.
        """
        inputs = (latents, times, texts, labels)
        if fixed:
            return in_chunks(self._unet, inputs, self._settings.deterministic_rows, pad=True)
        try:
            return in_chunks(self._unet, inputs, self._row_limit, pad=False)
        except torch.OutOfMemoryError:
            self._row_limit = max(1, min(self._row_limit, len(latents)) // 2)
            _free_memory("denoising", self._row_limit)
            return in_chunks(self._unet, inputs, self._row_limit, pad=False)

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


def _free_memory(doing: str, rows: int) -> None:
    _log.warning("out of memory while %s; trying again with %d rows a call", doing, rows)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
