"""CLIP's second phase: the text tower is locked, the image tower goes on learning to meet it.

The diffusion models read the text tower, so it must not move once they train. With texts that stand
still the image tower learns much faster (the reverse of locked-image tuning).
"""

import random

import torch
from torch import Tensor, nn

from models.nano.recipe import captions, clip, tokenizer
from models.nano.recipe.photos import Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop
from models.nano.recipe.training import Schedule, Trace, Trainer

CLASS_SHARE = 0.5  # weight of the loss against the bare class prompts


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Trains the image tower of `clip/` further and writes the folder again."""
    torch.manual_seed(1)
    model = clip.load(workshop.models)[0].to(workshop.device, memory_format=torch.channels_last)
    model.visual.requires_grad_(True)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(128),
        learning_rate=1.5e-3,
        weight_decay=0.05,
        ema_decay=0.99,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("clip_image"))
    sampler = clip.TextSampler(photos)
    prompts = class_prompts(model, photos.names, workshop.device)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        pixels = clip.enlarge(as_floats(jitter(photos.images[rows], generator)).to(workshop.device))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        images = nn.functional.normalize(model.visual(pixels).float(), dim=-1)
        ids, stated = sampler.draw(rows[::2].tolist(), random.Random(int(rows.sum())))
        with torch.no_grad():
            texts = clip.encode_text(model, ids.to(workshop.device))
        positive = clip.agree(stated, sampler.seen[rows]).to(workshop.device)
        scale = model.logit_scale.clamp(max=4.6).exp()
        loss = clip.contrast(images, texts, scale, positive)
        labels = photos.labels[rows].to(workshop.device)
        named = nn.functional.cross_entropy(scale * images @ prompts.T, labels, label_smoothing=0.1)
        return loss + CLASS_SHARE * named

    model.train()
    trace = trainer.run(loss_of)
    clip.write(model, workshop.models / "clip")
    return trace


@torch.no_grad()
def class_prompts(model: nn.Module, names: tuple[str, ...], device: torch.device) -> Tensor:
    """One unit vector per class [c, d]: the mean over the templates."""
    build = tokenizer.build()
    means = []
    for name in names:
        ids = tokenizer.encode(build, [t.format(name) for t in captions.TEMPLATES]).to(device)
        means.append(clip.encode_text(model, ids).mean(0))
    return nn.functional.normalize(torch.stack(means), dim=-1)
