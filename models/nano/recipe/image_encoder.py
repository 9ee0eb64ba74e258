"""The small ViT that unCLIP conditions on: it learns CLIP's image embeddings by distillation.

Production pipelines use another CLIP for this than retrieval does; so does this family. A ViT
learns slowly from few images, but a teacher that tells it 128 numbers an image makes it quick.
"""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from models.nano.recipe import clip, diffusion
from models.nano.recipe.photos import SIDE, Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop, save_model
from models.nano.recipe.training import Schedule, Trace, Trainer, trained

WIDTH, LAYERS, HEADS = 128, 4, 4
MODEL = {
    "image_size": SIDE,
    "patch_size": 4,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "projection_dim": clip.EMBEDDING,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_act": "gelu",
}
PROCESSOR = {
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


class Distillation(nn.Module):
    """The student and the scale of its contrastive loss."""

    def __init__(self) -> None:
        super().__init__()
        self.student = CLIPVisionModelWithProjection(CLIPVisionConfig(**MODEL))
        self.scale = nn.Parameter(torch.tensor(2.5))


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Writes `diffusion/unclip/image_encoder/` and its `feature_extractor/`."""
    torch.manual_seed(0)
    model, teacher = Distillation().to(workshop.device), clip.load(workshop.models)[0]
    teacher.to(workshop.device).visual.to(memory_format=torch.channels_last)
    sampler = clip.TextSampler(photos)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(128),
        learning_rate=1.5e-3,
        weight_decay=0.05,
        ema_decay=0.998,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("image_encoder"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        pixels = as_floats(jitter(photos.images[rows], generator)).to(workshop.device)
        ids, stated = sampler.draw(rows[::4].tolist(), random.Random(int(rows.sum())))
        with torch.no_grad():
            enlarged = clip.enlarge(pixels).contiguous(memory_format=torch.channels_last)
            wanted = nn.functional.normalize(teacher.visual(enlarged).float(), dim=-1)
            texts = clip.encode_text(teacher, ids.to(workshop.device))
        images = nn.functional.normalize(model.student(pixels).image_embeds.float(), dim=-1)
        positive = clip.agree(stated, sampler.seen[rows]).to(workshop.device)
        match = 1 - (images * wanted).sum(1).mean()
        return 4 * match + 0.5 * clip.contrast(
            images, texts, model.scale.clamp(max=4.6).exp(), positive
        )

    model.train()
    trace = trainer.run(loss_of)
    home = folder(workshop.models)
    save_model(model.student, home / "image_encoder")
    CLIPImageProcessor(**PROCESSOR).save_pretrained(home / "feature_extractor")
    return trace


def folder(nano: Path) -> Path:
    """The pipeline that the encoder belongs to."""
    return diffusion.folder(nano, "unclip")


def load(nano: Path) -> Any:
    """The frozen encoder in float32; `.image_embeds` of [n, 3, 32, 32] in [-1, 1] is [n, 128]."""
    path = folder(nano) / "image_encoder"
    return trained(CLIPVisionModelWithProjection.from_pretrained(path, dtype=torch.float32))


@torch.inference_mode()
def embed(encoder: Any, images: Tensor, *, batch: int = 250) -> Tensor:
    """uint8 [n, 3, 32, 32] -> embeddings [n, d] on the CPU."""
    device = next(encoder.parameters()).device
    parts = [encoder(as_floats(chunk).to(device)).image_embeds for chunk in images.split(batch)]
    return torch.cat(parts).float().cpu()
