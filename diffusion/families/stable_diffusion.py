"""Stable Diffusion 1 and 2: one text encoder, one U-Net, one autoencoder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.families.base import IMAGE_EMBEDDING, SCALE, START, TEXT
from diffusion.fixed_shapes import ENCODER_ROWS, in_chunks
from diffusion.folder import ModelFolder
from diffusion.words import Prompt, token_rows, vectors_in_place

if TYPE_CHECKING:
    from diffusion.card import ModelCard


class StableDiffusion:
    """Text to image, and image to image."""

    mode = "text"
    title = "Stable Diffusion"
    pipelines: tuple[str, ...] = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
    # The safety filter is the retriever's, for all sources of images alike.
    left_out: tuple[str, ...] = ("safety_checker",)
    text_encoders: tuple[str, ...] = ("text_encoder",)
    accepts: tuple[str, ...] = (START,)
    needs_image = False
    takes_adapter = True

    def text_shapes(self, folder: ModelFolder) -> Mapping[str, tuple[int, ...]]:
        config = folder.json("text_encoder/config.json")
        return {TEXT: (int(config["max_position_embeddings"]), int(config["hidden_size"]))}

    def encode_texts(
        self, pipeline: Any, prompts: Sequence[Prompt], device: torch.device
    ) -> Mapping[str, Tensor]:
        encoder = pipeline.text_encoder
        length = encoder.config.max_position_embeddings
        rows = token_rows(pipeline.tokenizer, prompts, length, "text_encoder").to(device)

        def encode(ids: Tensor, places: Tensor) -> Tensor:
            with vectors_in_place(encoder, places, rows.table):
                matrix: Tensor = encoder(ids)[0]
            return matrix

        return {TEXT: in_chunks(encode, (rows.ids, rows.places), ENCODER_ROWS, pad=True)}

    def constant_inputs(self, card: "ModelCard") -> Inputs:
        """With an adapter, rows that have no image embedding have one of no weight."""
        if IMAGE_EMBEDDING not in card.accepts:
            return {}
        return {IMAGE_EMBEDDING: torch.zeros(card.image_dimension), SCALE: torch.zeros(1)}

    def embedding_inputs(
        self,
        pipeline: Any,
        embedding: Tensor,
        generator: torch.Generator,
        *,
        noise_level: int = 0,
        scale: float = 1.0,
    ) -> tuple[Inputs, Inputs]:
        weight = {SCALE: embedding.new_full((1,), scale)}
        nothing = {IMAGE_EMBEDDING: torch.zeros_like(embedding)}
        return {IMAGE_EMBEDDING: embedding, **weight}, {**nothing, **weight}

    def call_unet(self, unet: Any, latents: Tensor, times: Tensor, inputs: Inputs) -> Tensor:
        output: Tensor = unet(
            latents,
            times,
            encoder_hidden_states=inputs[TEXT],
            added_cond_kwargs=self.added(inputs),
            return_dict=False,
        )[0]
        return output

    def added(self, inputs: Inputs) -> dict[str, Tensor]:
        """Returns what diffusers' U-Nets take beside latents, times and text."""
        if IMAGE_EMBEDDING not in inputs:
            return {}
        return {"image_embeds": torch.cat([inputs[IMAGE_EMBEDDING], inputs[SCALE]], dim=-1)}

    def vae_dtype(self, vae: Any, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def scale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        return latents * float(vae.config.scaling_factor)

    def unscale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        return latents / float(vae.config.scaling_factor)


FAMILY = StableDiffusion()
