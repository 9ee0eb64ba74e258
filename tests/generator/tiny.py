"""Tiny random configurations of the real architectures, saved as diffusers folders."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from models.torchvision_cpu import declare_missing_operators

declare_missing_operators()

from diffusers import (  # noqa: E402
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer  # noqa: E402
from transformers import (  # noqa: E402
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

TOKENS, WIDTH, DIMENSION, SIDE = 12, 32, 16, 32


def tokenizer() -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)


def text_configuration() -> CLIPTextConfig:
    """A text encoder of the tokenizer's tokens."""
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=DIMENSION,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def components(in_channels: int = 4, **unet: Any) -> dict[str, Any]:
    """The parts of a Stable Diffusion pipeline with 32 x 32 images and 16 x 16 latents."""
    torch.manual_seed(0)
    return {
        "vae": AutoencoderKL(
            block_out_channels=[8, 16],
            in_channels=3,
            out_channels=3,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=SIDE,
        ),
        "text_encoder": CLIPTextModel(text_configuration()).eval(),
        "tokenizer": tokenizer(),
        "unet": UNet2DConditionModel(
            sample_size=SIDE // 2,
            in_channels=in_channels,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **{"cross_attention_dim": WIDTH, "attention_head_dim": 4, **unet},
        ),
        "scheduler": PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
    }


def save_text(folder: Path, scheduler: Any = None) -> Path:
    """Saves a StableDiffusionPipeline."""
    parts = components()
    if scheduler is not None:
        parts["scheduler"] = scheduler
    StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


def save_pix2pix(folder: Path) -> Path:
    """Saves a StableDiffusionInstructPix2PixPipeline: 8 input channels."""
    StableDiffusionInstructPix2PixPipeline(
        **components(in_channels=8),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def image_encoder() -> CLIPVisionModelWithProjection:
    """A CLIP image encoder of 32 x 32 images."""
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=37,
        projection_dim=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
    )
    return CLIPVisionModelWithProjection(vision).eval()


def save_adapter(folder: Path, name: str = "ip-adapter_sd15.safetensors") -> Path:
    """Puts an IP-Adapter and its image encoder into the folder of a model."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    width = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * width, DIMENSION),
        "image_proj.proj.bias": torch.randn(4 * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    # Adapters number the attentions, those of the image to itself among them.
    for number, name_ in enumerate(unet.attn_processors):
        if name_.endswith("attn2.processor"):
            rows = unet.get_submodule(name_.removesuffix(".processor")).inner_dim
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{number}.{part}.weight"] = torch.randn(rows, width) / 4
    safetensors.torch.save_file(tensors, folder / name)
    image_encoder().save_pretrained(folder / "image_encoder")
    return folder


def save_unclip(folder: Path) -> Path:
    """Saves a StableUnCLIPImg2ImgPipeline: the class label is embedding and noise level."""
    parts = components(
        class_embed_type="projection", projection_class_embeddings_input_dim=2 * DIMENSION
    )
    parts["scheduler"] = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    StableUnCLIPImg2ImgPipeline(
        **parts,
        feature_extractor=CLIPImageProcessor(size=SIDE, crop_size=SIDE),
        image_encoder=image_encoder(),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=DIMENSION),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    ).save_pretrained(folder)
    return folder


def save_xl(folder: Path, *, zeros: bool = True, **vae: Any) -> Path:
    """Saves a StableDiffusionXLPipeline; `zeros` says that the null text is all zeros."""
    parts = components(
        cross_attention_dim=2 * WIDTH,
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + DIMENSION,
    )
    parts["scheduler"] = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
    parts["vae"].register_to_config(**vae)
    StableDiffusionXLPipeline(
        **parts,
        text_encoder_2=CLIPTextModelWithProjection(text_configuration()).eval(),
        tokenizer_2=tokenizer(),
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_family(folder: Path) -> Path:
    """Saves one model of each mode."""
    save_text(folder / "text")
    save_pix2pix(folder / "pix2pix")
    save_unclip(folder / "unclip")
    return folder
