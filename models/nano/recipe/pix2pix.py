"""Mixing visual concepts: the text model, fine-tuned to look at another image of the class.

The U-Net takes the noisy latent beside the latent of another random photograph of the same class;
its text is a mixture of embeddings of captions of the class (Algorithm 1 of "Dataset Augmentation
by Mixing Visual Concepts"), not the photograph's own caption.
"""

import random
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from torch import Tensor

from models.nano.recipe import diffusion, latents, tokenizer, vae
from models.nano.recipe.photos import Photos
from models.nano.recipe.settings import Workshop, place
from models.nano.recipe.text import Conditions
from models.nano.recipe.training import Schedule, Trace, Trainer

UNET = diffusion.UNET | {"in_channels": 2 * vae.LATENT_CHANNELS}
COARSE, FINE = 2, 8  # P and Q of Algorithm 1
HIDE_BOTH, HIDE_TEXT, HIDE_IMAGE = 0.06, 0.06, 0.06


def mix(group: Tensor, generator: torch.Generator) -> Tensor:
    """Mixes each embedding of a class with others of it: [k, m, d] -> [k, m, d].

    Every entry of the result comes from one of the group's embeddings at the same position.
    """
    count, rows, columns = group.shape
    mixed = group.clone()
    for index in range(count):
        for _ in range(COARSE):
            other = int(torch.randint(count, (1,), generator=generator))
            first, last = _span(rows, generator)
            mixed[index, first:last] = group[other, first:last]
        for _ in range(FINE):
            other = int(torch.randint(count, (1,), generator=generator))
            row = int(torch.randint(rows, (1,), generator=generator))
            first, last = _span(columns, generator)
            mixed[index, row, first:last] = group[other, row, first:last]
    return mixed


def _span(length: int, generator: torch.Generator) -> tuple[int, int]:
    """A half-open range that is never empty."""
    first, last = torch.randperm(length + 1, generator=generator)[:2].sort().values.tolist()
    return first, last


class Groups:
    """Draws a few classes and, for each, photographs to make and others to look at."""

    def __init__(self, labels: Tensor) -> None:
        self.of_class = [(labels == label).nonzero()[:, 0] for label in labels.unique()]

    def draw(self, count: int, groups: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(rows to make [count], rows of the same classes to look at [count]), grouped by class."""
        picks = torch.randint(len(self.of_class), (groups,), generator=generator).tolist()
        size = count // groups
        pairs = []
        for pick in picks:
            members = self.of_class[pick]
            chosen = torch.randint(len(members), (2, size), generator=generator)
            pairs.append(members[chosen])
        both = torch.cat(pairs, 1)
        return both[0], both[1]


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Fine-tunes the text model; writes `diffusion/pix2pix/`."""
    torch.manual_seed(0)
    unet = grown(diffusion.load_unet(workshop.models, "text"))
    model = place(diffusion.Denoising(unet), workshop.device)
    pool, conditions = latents.of_pool(workshop, photos), Conditions(workshop, photos)
    groups = Groups(photos.labels[: len(pool.plain)])
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(64),
        learning_rate=4e-4,
        weight_decay=0.01,
        ema_decay=0.998,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("pix2pix"))

    def loss_of(generator: torch.Generator) -> Tensor:
        share = 8  # photographs of one class
        rows, others = groups.draw(schedule.batch_size, schedule.batch_size // share, generator)
        chance = torch.rand(3, len(rows), generator=generator)
        clean = pool.pick(rows, chance[0] < 0.5).to(workshop.device)
        beside = pool.pick(others, chance[1] < 0.5).to(workshop.device) / pool.scale
        text = conditions.draw(rows, random.Random(int(rows.sum())))
        text = torch.cat([mix(group, generator) for group in text.split(share)])
        hidden = chance[2]
        no_text = hidden < HIDE_BOTH + HIDE_TEXT
        no_image = (hidden < HIDE_BOTH) | (
            (hidden >= HIDE_BOTH + HIDE_TEXT) & (hidden < HIDE_BOTH + HIDE_TEXT + HIDE_IMAGE)
        )
        beside = beside * (~no_image).to(workshop.device)[:, None, None, None]
        return model(clean, conditions.hide(text, no_text), generator, beside)  # type: ignore[no-any-return]

    model.train()
    trace = trainer.run(loss_of)
    diffusion.write_unet(unet, workshop.models, "pix2pix")
    diffusion.write_defaults(workshop.models, "pix2pix", 3.0, None)
    write_parts(workshop, unet)
    return trace


def grown(source: Any) -> Any:
    """The text U-Net with twice the input channels, the new ones starting at zero."""
    unet = UNet2DConditionModel(**UNET)
    weights = source.state_dict()
    first = torch.zeros_like(unet.conv_in.weight)
    first[:, : vae.LATENT_CHANNELS] = weights["conv_in.weight"]
    unet.load_state_dict(weights | {"conv_in.weight": first})
    return unet


def write_parts(workshop: Workshop, unet: Any) -> None:
    """Links the shared parts and names the pipeline."""
    diffusion.link_shared(workshop.models, "pix2pix")
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=vae.load(workshop.models),
        text_encoder=diffusion.load_text_encoder(workshop.models),
        tokenizer=tokenizer.build(),
        unet=unet,
        scheduler=diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_config(diffusion.folder(workshop.models, "pix2pix"))
