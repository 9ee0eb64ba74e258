"""Text to image: the U-Net learns from nothing; the text encoder is CLIP's, frozen."""

import random
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from models.nano.recipe import clip, diffusion, latents, tokenizer, vae
from models.nano.recipe.photos import Photos
from models.nano.recipe.settings import Workshop, place, save_model
from models.nano.recipe.training import Schedule, Trace, Trainer

NULL_SHARE = 0.12  # captions replaced by the empty one, for classifier-free guidance


class Conditions:
    """Text embeddings of training captions [n, m, d], some of them null."""

    def __init__(self, workshop: Workshop, photos: Photos) -> None:
        self.sampler = clip.TextSampler(photos)
        self.encoder = diffusion.load_text_encoder(workshop.models).to(workshop.device)
        self.device = workshop.device
        self.null = self.encode(tokenizer.encode(self.sampler.tokenizer, [""]))

    @torch.inference_mode()
    def encode(self, ids: Tensor) -> Tensor:
        """ids [n, m] -> [n, m, d]."""
        return self.encoder(ids.to(self.device)).last_hidden_state.float()  # type: ignore[no-any-return]

    def draw(self, rows: Tensor, rng: random.Random) -> Tensor:
        """Embeddings of one phrasing for each row."""
        ids, _ = self.sampler.draw(rows.tolist(), rng, noise=0.15)
        return self.encode(ids).clone()

    def hide(self, text: Tensor, mask: Tensor) -> Tensor:
        """Replaces the masked rows with the null text."""
        return torch.where(mask.to(self.device)[:, None, None], self.null, text)


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Writes `diffusion/text/`, a StableDiffusionPipeline folder."""
    torch.manual_seed(0)
    prepare(workshop)
    unet = UNet2DConditionModel(**diffusion.UNET)
    model = place(diffusion.Denoising(unet), workshop.device)
    pool, conditions = latents.of_pool(workshop, photos), Conditions(workshop, photos)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(64),
        learning_rate=8e-4,
        weight_decay=0.01,
        ema_decay=0.999,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("text"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pool.plain), (schedule.batch_size,), generator=generator)
        chance = torch.rand(2, len(rows), generator=generator)
        clean = pool.pick(rows, chance[0] < 0.5).to(workshop.device)
        text = conditions.draw(rows, random.Random(int(rows.sum())))
        return model(clean, conditions.hide(text, chance[1] < NULL_SHARE), generator)  # type: ignore[no-any-return]

    model.train()
    trace = trainer.run(loss_of)
    diffusion.write_unet(unet, workshop.models, "text")
    diffusion.write_defaults(workshop.models, "text", 3.0, None)
    return trace


def prepare(workshop: Workshop) -> None:
    """Writes every part of the folder but the U-Net."""
    home = diffusion.folder(workshop.models, "text")
    save_model(diffusion.text_tower(clip.load(workshop.models)[0]), home / "text_encoder")
    tokenizer.save(home / "tokenizer")
    diffusion.scheduler().save_pretrained(home / "scheduler")
    parts: dict[str, Any] = {
        "vae": vae.load(workshop.models),
        "text_encoder": diffusion.load_text_encoder(workshop.models),
        "tokenizer": tokenizer.build(),
        "unet": UNet2DConditionModel(**diffusion.UNET),
        "scheduler": diffusion.scheduler(),
    }
    pipeline = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_config(home)
