"""Stable unCLIP: Stable Diffusion that is given an image embedding (AUGCOND, section 3)."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.families.base import CLASS_LABEL, IMAGE_EMBEDDING, NOISE_LEVEL, TEXT
from diffusion.families.stable_diffusion import StableDiffusion
from diffusion.noise import normal

if TYPE_CHECKING:
    from diffusion.card import ModelCard


class StableUnclip(StableDiffusion):
    """The noised embedding and its noise level are the class label of the U-Net."""

    mode = "unclip"
    title = "Stable unCLIP"
    pipelines: tuple[str, ...] = ("StableUnCLIPImg2ImgPipeline",)
    left_out: tuple[str, ...] = ()
    accepts: tuple[str, ...] = (IMAGE_EMBEDDING, NOISE_LEVEL)
    needs_image = True
    takes_adapter = False

    def constant_inputs(self, card: "ModelCard") -> Inputs:
        return {}

    def embedding_inputs(
        self,
        pipeline: Any,
        embedding: Tensor,
        generator: torch.Generator,
        *,
        noise_level: int = 0,
        scale: float = 1.0,
    ) -> tuple[Inputs, Inputs]:
        noise = normal((1, len(embedding)), generator, embedding.device, embedding.dtype)
        label = pipeline.noise_image_embeddings(embedding[None], noise_level, noise=noise)[0]
        return {CLASS_LABEL: label}, {CLASS_LABEL: torch.zeros_like(label)}

    def call_unet(self, unet: Any, latents: Tensor, times: Tensor, inputs: Inputs) -> Tensor:
        output: Tensor = unet(
            latents,
            times,
            encoder_hidden_states=inputs[TEXT],
            class_labels=inputs[CLASS_LABEL],
            return_dict=False,
        )[0]
        return output


FAMILY = StableUnclip()
