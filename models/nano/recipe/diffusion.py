"""What the three diffusion modes share: the U-Net, its noise schedule, its loss, its folders."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from models.nano.recipe import clip, tokenizer, vae
from models.nano.recipe.settings import save_model
from models.nano.recipe.training import trained

STEPS = 1000  # of the training schedule
UNET = {
    "sample_size": 8,
    "in_channels": vae.LATENT_CHANNELS,
    "out_channels": vae.LATENT_CHANNELS,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [64, 112],
    "layers_per_block": 1,
    "cross_attention_dim": clip.TEXT_WIDTH,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}
SCHEDULER = {
    "num_train_timesteps": STEPS,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
}


def scheduler() -> Any:
    """The sampler that the folders name."""
    return DDIMScheduler(**SCHEDULER)


class Denoising(nn.Module):
    """The v-prediction loss of a conditional U-Net on scaled latents."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("alphas", scheduler().alphas_cumprod, persistent=False)

    def forward(
        self,
        latents: Tensor,
        text: Tensor,
        generator: torch.Generator,
        beside: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """latents [n, c, 8, 8], text [n, m, d], `beside` concatenated channels -> scalar loss."""
        device = latents.device
        steps = torch.randint(STEPS, (len(latents),), generator=generator).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        alpha = self.alphas[steps][:, None, None, None]  # type: ignore[index]
        signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * latents + spread * noise
        if beside is not None:
            noisy = torch.cat([noisy, beside], 1)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        made = self.unet(noisy, steps, text, class_labels=labels).sample
        return nn.functional.mse_loss(made.float(), signal * noise - spread * latents)


def text_tower(model: Any) -> CLIPTextModel:
    """Turns open_clip's text tower into the transformers model that pipelines expect."""
    config = CLIPTextConfig(
        vocab_size=tokenizer.VOCABULARY,
        hidden_size=clip.TEXT_WIDTH,
        intermediate_size=4 * clip.TEXT_WIDTH,
        projection_dim=clip.EMBEDDING,
        num_hidden_layers=clip.TEXT_LAYERS,
        num_attention_heads=clip.TEXT_HEADS,
        max_position_embeddings=tokenizer.CONTEXT,
        hidden_act="gelu",
        bos_token_id=tokenizer.START,
        eos_token_id=tokenizer.END,
        pad_token_id=tokenizer.END,
    )
    tower = CLIPTextModel(config)
    names = list(tower.state_dict())
    prefix = "text_model." if names[0].startswith("text_model.") else ""
    weights = {prefix + name: tensor for name, tensor in _renamed(model).items()}
    missing, unexpected = tower.load_state_dict(weights, strict=False)
    if unexpected or any("position_ids" not in name for name in missing):
        raise RuntimeError(f"text tower: missing {missing}, unexpected {unexpected}")
    return trained(tower)  # type: ignore[return-value]


def _renamed(model: Any) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {
        "embeddings.token_embedding.weight": model.token_embedding.weight,
        "embeddings.position_embedding.weight": model.positional_embedding,
        "final_layer_norm.weight": model.ln_final.weight,
        "final_layer_norm.bias": model.ln_final.bias,
    }
    for place, block in enumerate(model.transformer.resblocks):
        start = f"encoder.layers.{place}."
        for kind in ("weight", "bias"):
            stacked = getattr(block.attn, f"in_proj_{kind}").chunk(3)
            for name, part in zip("qkv", stacked, strict=True):
                weights[f"{start}self_attn.{name}_proj.{kind}"] = part
            weights[f"{start}self_attn.out_proj.{kind}"] = getattr(block.attn.out_proj, kind)
            weights[f"{start}layer_norm1.{kind}"] = getattr(block.ln_1, kind)
            weights[f"{start}layer_norm2.{kind}"] = getattr(block.ln_2, kind)
            weights[f"{start}mlp.fc1.{kind}"] = getattr(block.mlp.c_fc, kind)
            weights[f"{start}mlp.fc2.{kind}"] = getattr(block.mlp.c_proj, kind)
    return weights


def folder(nano: Path, mode: str) -> Path:
    """The folder of one mode."""
    return nano / "diffusion" / mode


def load_unet(nano: Path, mode: str) -> Any:
    """The U-Net of a mode in float32."""
    return UNet2DConditionModel.from_pretrained(
        folder(nano, mode), subfolder="unet", torch_dtype=torch.float32
    )


def load_text_encoder(nano: Path) -> Any:
    """The frozen text encoder in float32."""
    path = folder(nano, "text") / "text_encoder"
    return trained(CLIPTextModel.from_pretrained(path, dtype=torch.float32))


def write_unet(unet: Any, nano: Path, mode: str) -> None:
    """Saves the U-Net of a mode."""
    save_model(unet, folder(nano, mode) / "unet")


def link_shared(nano: Path, mode: str) -> None:
    """Points the mode's common parts at those of `text`, so that they exist once."""
    home = folder(nano, mode)
    home.mkdir(parents=True, exist_ok=True)
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        if not (home / part).is_symlink():
            (home / part).symlink_to(f"../text/{part}")


def write_defaults(nano: Path, mode: str, guidance: float, image_encoder: str | None) -> None:
    """Writes variegate.json: how this mode is meant to be sampled, and which encoders it reads."""
    defaults = {
        "guidance_scale": guidance,
        "steps": 25,
        "height": 32,
        "width": 32,
        "text_encoder": "nano-clip-text",
        "image_encoder": image_encoder,
    }
    path = folder(nano, mode) / "variegate.json"
    path.write_text(json.dumps(defaults, indent=2) + "\n")
