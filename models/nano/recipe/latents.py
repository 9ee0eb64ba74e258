"""The pool's latents, computed once: they feed the three diffusion stages."""

from dataclasses import dataclass

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.nano.recipe import vae
from models.nano.recipe.photos import Photos
from models.nano.recipe.settings import Workshop


@dataclass(frozen=True)
class Latents:
    """`plain` and `mirrored` [n, 8, 8, 8], scaled to unit variance, in the order of the pool."""

    plain: Tensor
    mirrored: Tensor
    scale: float

    def pick(self, rows: Tensor, mirror: Tensor) -> Tensor:
        """Rows [k] and a mask [k] -> latents [k, 8, 8, 8] in float32."""
        chosen = torch.where(mirror[:, None, None, None], self.mirrored[rows], self.plain[rows])
        return chosen.float()


def of_pool(workshop: Workshop, photos: Photos) -> Latents:
    """Encodes the pool, or reads the cache if the same autoencoder made it."""
    model = vae.load(workshop.models).to(workshop.device, memory_format=torch.channels_last)
    scale = float(model.config.scaling_factor)
    if workshop.untrained:
        few = vae.latents(model, photos.images[:64])
        return Latents(few, few, scale)
    cache = workshop.work / f"latents-{scale:.6f}.safetensors"
    if not cache.is_file():
        plain = vae.latents(model, photos.images).half().contiguous()
        mirrored = vae.latents(model, photos.images.flip(3)).half().contiguous()
        save_file({"plain": plain, "mirrored": mirrored}, cache)
    tensors = load_file(cache)
    return Latents(tensors["plain"], tensors["mirrored"], scale)
