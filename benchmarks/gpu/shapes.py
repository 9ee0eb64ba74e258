"""Models of the shapes that people use, with random weights: nothing is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

_TOKENS = 77
_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}
_TINY_VAE = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
# CLIP ViT-L/14 and OpenCLIP ViT-bigG/14, without their vocabulary: width, feed-forward, layers,
# heads.
_CLIP_L, _CLIP_G, _TINY_CLIP = (768, 3072, 12, 12), (1280, 5120, 32, 20), (32, 37, 2, 4)


@dataclass(frozen=True)
class Shape:
    """A model: the values of its configurations, and the batch sizes that are measured."""

    name: str
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoders: tuple[tuple[int, int, int, int], ...]
    batch_sizes: tuple[int, ...]
    steps: int

    @property
    def is_xl(self) -> bool:
        """Says whether there are two text encoders, and a pooled text."""
        return len(self.text_encoders) == 2


STABLE_DIFFUSION = Shape(
    name="sd15",
    unet={
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    vae={**_VAE, "sample_size": 512, "scaling_factor": 0.18215},
    text_encoders=(_CLIP_L,),
    batch_sizes=(1, 2, 4, 8, 16, 32, 64),
    steps=25,
)
STABLE_DIFFUSION_XL = Shape(
    name="sdxl",
    unet={
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
        "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 6 * 256 + 1280,
    },
    vae={**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    text_encoders=(_CLIP_L, _CLIP_G),
    batch_sizes=(1, 2, 4, 8, 16),
    steps=25,
)
_TINY_UNET = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 4,
}
TINY = (
    Shape("tiny", {**_TINY_UNET, "cross_attention_dim": 32}, _TINY_VAE, (_TINY_CLIP,), (1, 2), 3),
    Shape(
        "tiny_xl",
        {
            **_TINY_UNET,
            "cross_attention_dim": 64,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 32,
        },
        _TINY_VAE,
        (_TINY_CLIP, _TINY_CLIP),
        (1, 2),
        3,
    ),
)


def save(shape: Shape, folder: Path, dtype: torch.dtype) -> None:
    """Writes the model as diffusers' folder, with random weights."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    levels = len(shape.vae["block_out_channels"])
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(in_channels=4, out_channels=4, **shape.unet),
        "vae": AutoencoderKL(
            latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * levels,
            up_block_types=["UpDecoderBlock2D"] * levels,
            **shape.vae,
        ),
        "text_encoder": CLIPTextModel(_text(shape.text_encoders[0])),
        "tokenizer": _tokenizer(),
    }
    if shape.is_xl:
        parts["scheduler"] = EulerDiscreteScheduler(
            **_NOISE, timestep_spacing="leading", steps_offset=1
        )
        parts["text_encoder_2"] = CLIPTextModelWithProjection(_text(shape.text_encoders[1]))
        parts["tokenizer_2"] = _tokenizer()
        pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        parts["scheduler"] = PNDMScheduler(**_NOISE, skip_prk_steps=True, steps_offset=1)
        parts |= {"safety_checker": None, "feature_extractor": None}
        pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.to(dtype=dtype).save_pretrained(folder)


def _text(size: tuple[int, int, int, int]) -> CLIPTextConfig:
    width, inner, layers, heads = size
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=_TOKENS,
        projection_dim=width,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _tokenizer() -> CLIPTokenizer:
    """A tokenizer of single letters."""
    letters = [chr(number) for number in (*range(33, 127), *range(161, 323))]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words = [*words[:512], "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_TOKENS)
