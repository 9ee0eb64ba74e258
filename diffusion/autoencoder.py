"""The autoencoder of a model: images to latents and back."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffusion.card import ModelCard
from diffusion.families.registry import family_of
from diffusion.fixed_shapes import ENCODER_ROWS, in_chunks
from diffusion.pixels import to_tensor
from diffusion.placement import Placement
from diffusion.row_limit import RowLimit


class Autoencoder:
    """A pipeline's autoencoder. Not thread-safe: one thread owns it.

    Up to `rows` images are decoded in one call.
    """

    def __init__(self, vae: Any, card: ModelCard, placement: Placement, rows: int) -> None:
        self._vae, self._card, self._placement, self._rows = vae, card, placement, rows
        self._family = family_of(card.pipeline, card.name)
        self._dtype = self._family.vae_dtype(vae, placement.dtype)
        if vae.dtype != self._dtype:
            vae.to(self._dtype)
        self._decoding = RowLimit(rows, "decoding")

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """The shape (1, c, h, w) of an image's latent."""
        config, card = self._vae.config, self._card
        scale = 2 ** (len(config.block_out_channels) - 1)
        return (1, int(config.latent_channels), card.height // scale, card.width // scale)

    def posteriors(self, images: Sequence[Image.Image]) -> list[Any]:
        """Returns the distribution of the unscaled latent [1, c, h, w] of each image."""
        card = self._card
        pixels = torch.stack([to_tensor(image, card.width, card.height) for image in images])
        pixels = pixels.to(self._placement.device, self._dtype)

        kinds: list[type] = []

        def encode(rows: Tensor) -> Tensor:
            posterior = self._vae.encode(rows).latent_dist
            kinds.append(type(posterior))
            parameters: Tensor = posterior.parameters
            return parameters

        moments = in_chunks(encode, (pixels,), ENCODER_ROWS, pad=True)
        return [kinds[0](row[None]) for row in moments]

    def scaled(self, latents: Tensor) -> Tensor:
        """Returns latents [n, c, h, w] of a posterior in the U-Net's scale, float32."""
        return self._family.scale_latents(self._vae, latents.float())

    def decode(self, latents: Tensor, *, fixed: bool) -> Tensor:
        """Returns the images [n, 3, height, width] of scaled latents [n, c, h, w].

        `fixed` latents are decoded in calls of one shape; others in smaller ones if the device's
        memory does not suffice.
        """

        def decode(rows: Tensor) -> Tensor:
            image: Tensor = self._vae.decode(rows, return_dict=False)[0]
            return image

        inputs = (self._family.unscale_latents(self._vae, latents.to(self._dtype)),)
        if fixed:
            return in_chunks(decode, inputs, self._rows, pad=True)
        return self._decoding.apply(decode, inputs)
