"""InstructPix2Pix: a U-Net with twice the latent's channels (MVC, section 3.3)."""

from typing import Any

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.families.base import CONCATENATED
from diffusion.families.stable_diffusion import StableDiffusion


class InstructPix2Pix(StableDiffusion):
    """Stable Diffusion in which the latent of a real image lies beside the noisy one."""

    mode = "pix2pix"
    title = "InstructPix2Pix"
    pipelines: tuple[str, ...] = ("StableDiffusionInstructPix2PixPipeline",)
    accepts: tuple[str, ...] = (CONCATENATED,)
    needs_image = True
    takes_adapter = False

    def call_unet(self, unet: Any, latents: Tensor, times: Tensor, inputs: Inputs) -> Tensor:
        both = torch.cat([latents, inputs[CONCATENATED]], dim=1)
        return super().call_unet(unet, both, times, inputs)


FAMILY = InstructPix2Pix()
