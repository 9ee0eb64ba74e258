"""The autoencoder: 32 x 32 photographs <-> 8 x 8 latents with 8 channels."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.nano.recipe import clip, principal
from models.nano.recipe.photos import Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop, save_model
from models.nano.recipe.training import Schedule, Trace, Trainer, trained

LATENT_CHANNELS = 8
MODEL = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 64],
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "sample_size": 32,
    "mid_block_add_attention": False,
    "force_upcast": False,
}
PERCEPTUAL, NOISE = 0.1, 0.03


class Perception(nn.Module):
    """Distance in the first layers of CLIP's image tower, which see edges and textures."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual: Any = trained(visual)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Two [n, 3, 32, 32] -> a scalar: L1 between channel-normalised features."""
        return torch.stack(
            [
                nn.functional.l1_loss(a, b)
                for a, b in zip(self._look(made), self._look(real), strict=True)
            ]
        ).mean()

    def _look(self, images: Tensor) -> list[Tensor]:
        x = self.visual.stem(clip.enlarge(images).contiguous(memory_format=torch.channels_last))
        return [nn.functional.instance_norm(x), nn.functional.instance_norm(self.visual.layer1(x))]


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Trains with L1, perceptual loss and a little noise on the latents; writes `text/vae/`."""
    torch.manual_seed(0)
    vae = AutoencoderKL(**MODEL)
    principal.start(vae, as_floats(photos.images[:: max(1, len(photos.images) // 3000)]))
    perceive = Perception(clip.image_tower(workshop)).to(workshop.device)
    vae.to(workshop.device, memory_format=torch.channels_last)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(16),
        learning_rate=1.5e-3,
        weight_decay=0.0,
        ema_decay=0.998,
    )
    trainer = Trainer(vae, schedule, workshop.checkpoint("vae"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        images = as_floats(jitter(photos.images[rows], generator, margin=2)).to(workshop.device)
        images = images.contiguous(memory_format=torch.channels_last)
        latents = vae.encode(images).latent_dist.mode()
        noise = torch.randn(latents.shape, generator=generator).to(workshop.device)
        made = vae.decode(latents + NOISE * latents.detach().std() * noise).sample
        return nn.functional.l1_loss(made, images) + PERCEPTUAL * perceive(made, images)  # type: ignore[no-any-return]

    vae.train()
    trace = trainer.run(loss_of)
    normalise(vae, float(_latents(vae, photos.images[:: max(1, len(photos.images) // 2000)]).std()))
    save_model(vae, folder(workshop.models))
    return trace


@torch.no_grad()
def normalise(vae: Any, deviation: float) -> None:
    """Gives the latents unit variance, so that the scaling factor is 1.

    InstructPix2Pix feeds unscaled latents of the image beside scaled ones of the noise.
    """
    first, last = vae.quant_conv, vae.post_quant_conv
    first.weight[:LATENT_CHANNELS] /= deviation
    first.bias[:LATENT_CHANNELS] /= deviation
    first.bias[LATENT_CHANNELS:] -= 2 * math.log(deviation)
    last.weight *= deviation
    vae.register_to_config(scaling_factor=1.0)


def folder(nano: Path) -> Path:
    """Where the autoencoder lies; the other pipelines link to it."""
    return nano / "diffusion" / "text" / "vae"


def load(nano: Path) -> Any:
    """Loads the trained autoencoder in float32, frozen."""
    return trained(AutoencoderKL.from_pretrained(folder(nano), torch_dtype=torch.float32))


@torch.inference_mode()
def _latents(vae: Any, images: Tensor, *, batch: int = 250) -> Tensor:
    device = next(vae.parameters()).device
    parts = []
    for chunk in images.split(batch):
        pixels = as_floats(chunk).to(device).contiguous(memory_format=torch.channels_last)
        parts.append(vae.encode(pixels).latent_dist.mode().float().cpu())
    return torch.cat(parts)


def latents(vae: Any, images: Tensor) -> Tensor:
    """uint8 [n, 3, 32, 32] -> scaled latents [n, 8, 8, 8] of about unit variance."""
    return _latents(vae, images) * vae.config.scaling_factor


@torch.inference_mode()
def pictures(vae: Any, scaled: Tensor) -> Tensor:
    """Scaled latents -> images [n, 3, 32, 32] in [-1, 1]."""
    made: Tensor = vae.decode(scaled / vae.config.scaling_factor).sample
    return made.clamp(-1, 1)
