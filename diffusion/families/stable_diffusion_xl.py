"""Stable Diffusion XL: two text encoders, a pooled text, and sizes that the U-Net is told."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.errors import BrokenModel
from diffusion.families.base import POOLED_TEXT, SIZES, TEXT
from diffusion.families.stable_diffusion import StableDiffusion
from diffusion.fixed_shapes import ENCODER_ROWS, in_chunks
from diffusion.folder import ModelFolder
from diffusion.words import Prompt, token_rows, vectors_in_place

if TYPE_CHECKING:
    from diffusion.card import ModelCard


class StableDiffusionXL(StableDiffusion):
    """The base model, text to image and image to image.

    The null text is zeros where the model's index says so, whichever text it stands for: that is
    what the model was trained with.
    """

    title = "Stable Diffusion XL"
    pipelines: tuple[str, ...] = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline")
    left_out: tuple[str, ...] = ()
    text_encoders: tuple[str, ...] = ("text_encoder", "text_encoder_2")

    def text_shapes(self, folder: ModelFolder) -> Mapping[str, tuple[int, ...]]:
        if folder.json("model_index.json").get("requires_aesthetics_score"):
            raise BrokenModel(
                folder.name,
                "it is a refiner, which only finishes the latents of another model; use a base "
                "model",
            )
        first, second = (folder.json(f"{part}/config.json") for part in self.text_encoders)
        width = int(first["hidden_size"]) + int(second["hidden_size"])
        return {
            TEXT: (int(first["max_position_embeddings"]), width),
            POOLED_TEXT: (int(second["projection_dim"]),),
        }

    def encode_texts(
        self, pipeline: Any, prompts: Sequence[Prompt], device: torch.device
    ) -> Mapping[str, Tensor]:
        length = pipeline.text_encoder.config.max_position_embeddings
        pooled_width = pipeline.text_encoder_2.config.projection_dim
        encoders = [getattr(pipeline, part) for part in self.text_encoders]
        tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        tokens = [
            token_rows(tokenizer, prompts, length, part).to(device)
            for tokenizer, part in zip(tokenizers, self.text_encoders, strict=True)
        ]

        def encode(*ids_and_places: Tensor) -> Tensor:
            outputs = []
            for number, (encoder, own) in enumerate(zip(encoders, tokens, strict=True)):
                ids, places = ids_and_places[2 * number : 2 * number + 2]
                with vectors_in_place(encoder, places, own.table):
                    outputs.append(encoder(ids, output_hidden_states=True))
            hidden = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
            return torch.cat([hidden.flatten(1), outputs[-1].text_embeds], dim=-1)

        inputs = tuple(tensor for own in tokens for tensor in (own.ids, own.places))
        rows = in_chunks(encode, inputs, ENCODER_ROWS, pad=True)
        if pipeline.config.force_zeros_for_empty_prompt:
            is_null = torch.tensor([not prompt.text for prompt in prompts], device=device)
            rows = rows.masked_fill(is_null[:, None], 0.0)
        return {
            TEXT: rows[:, :-pooled_width].unflatten(1, (length, -1)),
            POOLED_TEXT: rows[:, -pooled_width:],
        }

    def constant_inputs(self, card: "ModelCard") -> Inputs:
        """Says that the whole of an image of the model's size is wanted: size, crop, size."""
        size = (card.height, card.width)
        sizes = torch.tensor([*size, 0, 0, *size], dtype=torch.float32)
        return {SIZES: sizes, **super().constant_inputs(card)}

    def added(self, inputs: Inputs) -> dict[str, Tensor]:
        own = {"text_embeds": inputs[POOLED_TEXT], "time_ids": inputs[SIZES]}
        return {**own, **super().added(inputs)}

    def vae_dtype(self, vae: Any, dtype: torch.dtype) -> torch.dtype:
        # Its activations overflow in float16.
        return torch.float32 if vae.config.force_upcast else dtype

    def scale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        mean, deviation = _statistics(vae, latents)
        return (latents - mean) * float(vae.config.scaling_factor) / deviation

    def unscale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        mean, deviation = _statistics(vae, latents)
        return latents * deviation / float(vae.config.scaling_factor) + mean


def _statistics(vae: Any, latents: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Returns mean and standard deviation [1, c, 1, 1] of latents, where the model has its own."""
    mean, deviation = vae.config.latents_mean, vae.config.latents_std
    if mean is None or deviation is None:
        return 0.0, 1.0
    return latents.new_tensor(mean).view(1, -1, 1, 1), latents.new_tensor(deviation).view(
        1, -1, 1, 1
    )


FAMILY = StableDiffusionXL()
