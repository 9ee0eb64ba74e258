"""Image variations: the text model, fine-tuned to follow an image embedding as well."""

import random
from typing import Any

import torch
from diffusers import DDPMScheduler, StableUnCLIPImg2ImgPipeline, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
from torch import Tensor
from transformers import CLIPImageProcessor

from models.nano.recipe import clip, diffusion, image_encoder, latents, tokenizer, vae
from models.nano.recipe.photos import Photos
from models.nano.recipe.settings import Workshop, place, save_model
from models.nano.recipe.text import NULL_SHARE, Conditions
from models.nano.recipe.training import Schedule, Trace, Trainer

DIMENSION = clip.EMBEDDING
UNET = diffusion.UNET | {
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 2 * DIMENSION,
}
TUNED_SHARE = 0.75
ENTRY_DROPOUT, MIXED_SHARE, DROPPED_SHARE, CLEAN_SHARE = 0.4, 0.25, 0.25, 0.5


class Embeddings:
    """Draws image embeddings as augmented conditioning will: plain, mixed, with holes, noisy."""

    def __init__(self, workshop: Workshop, photos: Photos, rows: int) -> None:
        encoder = image_encoder.load(workshop.models).to(workshop.device)
        self.plain = image_encoder.embed(encoder, photos.images[:rows])
        self.mirrored = image_encoder.embed(encoder, photos.images[:rows].flip(3))
        labels = photos.labels[:rows]
        self.labels = labels
        self.of_class = {int(c): (labels == c).nonzero()[:, 0] for c in labels.unique()}
        self.mean, self.std = self.plain.mean(0), self.plain.std(0)
        self.alphas = noising().alphas_cumprod

    def draw(self, rows: Tensor, mirror: Tensor, generator: torch.Generator) -> Tensor:
        """Rows [k] -> class labels [k, 2 d]: the (noised) embedding and its noise level's code."""
        chosen = torch.where(mirror[:, None], self.mirrored[rows], self.plain[rows])
        chance = torch.rand(4, len(rows), generator=generator)
        chosen = torch.where(
            chance[0, :, None] < MIXED_SHARE, self._mix(rows, chosen, generator), chosen
        )
        kept = torch.rand(chosen.shape, generator=generator) >= ENTRY_DROPOUT
        holed = chosen * kept  # without rescaling
        chosen = torch.where(chance[1, :, None] < DROPPED_SHARE, holed, chosen)
        levels = torch.randint(diffusion.STEPS, (len(rows),), generator=generator)
        levels = torch.where(chance[2] < CLEAN_SHARE, 0, levels)
        noise = torch.randn(chosen.shape, generator=generator)
        alpha = self.alphas[levels][:, None]
        noised = alpha.sqrt() * (chosen - self.mean) / self.std + (1 - alpha).sqrt() * noise
        noised = noised * self.std + self.mean
        # The code of the noise level that StableUnCLIPImg2ImgPipeline.noise_image_embeddings uses.
        code = get_timestep_embedding(
            levels, DIMENSION, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        labels = torch.cat([noised, code], 1)
        return labels * (chance[3] >= NULL_SHARE)[:, None]  # zeros: no image

    def _mix(self, rows: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """A linear or a cut mixture with another photograph of the same class."""
        others = torch.empty_like(rows)
        for label, members in self.of_class.items():
            mine = self.labels[rows] == label
            picks = torch.randint(len(members), (int(mine.sum()),), generator=generator)
            others[mine] = members[picks]
        second = self.plain[others]
        share = torch.rand(len(rows), 1, generator=generator)
        linear = share * chosen + (1 - share) * second
        start = torch.rand(len(rows), 1, generator=generator) * share
        place = torch.arange(DIMENSION) / DIMENSION
        cut = torch.where((place >= start) & (place < start + 1 - share), second, chosen)
        return torch.where(torch.rand(len(rows), 1, generator=generator) < 0.5, linear, cut)


def noising() -> Any:
    """The schedule that noises embeddings, as Stable unCLIP has it."""
    return DDPMScheduler(num_train_timesteps=diffusion.STEPS, beta_schedule="squaredcos_cap_v2")


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Fine-tunes the text model; writes `diffusion/unclip/` for StableUnCLIPImg2ImgPipeline."""
    torch.manual_seed(0)
    unet = grown(diffusion.load_unet(workshop.models, "text"))
    model = place(diffusion.Denoising(unet), workshop.device)
    pool, conditions = latents.of_pool(workshop, photos), Conditions(workshop, photos)
    embeddings = Embeddings(workshop, photos, len(pool.plain))
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(64),
        learning_rate=4e-4,
        weight_decay=0.01,
        ema_decay=0.998,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("unclip"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pool.plain), (schedule.batch_size,), generator=generator)
        chance = torch.rand(2, len(rows), generator=generator)
        mirror = chance[0] < 0.5
        clean = pool.pick(rows, mirror).to(workshop.device)
        labels = embeddings.draw(rows, mirror, generator).to(workshop.device)
        text = conditions.draw(rows, random.Random(int(rows.sum())))
        text = conditions.hide(text, chance[1] < 2 * NULL_SHARE)
        return model(clean, text, generator, labels=labels)  # type: ignore[no-any-return]

    model.train()
    trace = trainer.run(loss_of)
    blend(unet, diffusion.load_unet(workshop.models, "text"))
    diffusion.write_unet(unet, workshop.models, "unclip")
    diffusion.write_defaults(workshop.models, "unclip", 2.0, "nano-vit-clip")
    write_parts(workshop, unet, embeddings)
    return trace


def grown(source: Any) -> Any:
    """The text U-Net with an image-embedding input whose effect starts at zero."""
    unet = UNet2DConditionModel(**UNET)
    fresh = set(unet.state_dict()) - set(source.state_dict())
    unet.load_state_dict(source.state_dict(), strict=False)
    if not fresh or not all(name.startswith("class_embedding.") for name in fresh):
        raise RuntimeError(f"unexpected new weights: {sorted(fresh)}")
    torch.nn.init.zeros_(unet.class_embedding.linear_2.weight)
    torch.nn.init.zeros_(unet.class_embedding.linear_2.bias)
    return unet


@torch.no_grad()
def blend(unet: Any, source: Any, tuned: float = TUNED_SHARE) -> None:
    """Moves the tuned weights a part of the way back to the text model; new inputs shrink alike.

    Short fine-tuning on image embeddings forgets some of the text. A weighted mean of both networks
    follows the class better and looks better (Wortsman et al. 2022, robust fine-tuning).
    """
    before = source.state_dict()
    for name, weight in unet.state_dict().items():
        weight.mul_(tuned)
        if name in before:
            weight.add_(before[name].to(weight.device), alpha=1 - tuned)


def write_parts(workshop: Workshop, unet: Any, embeddings: Embeddings) -> None:
    """Writes the small parts and links the shared ones."""
    home = diffusion.folder(workshop.models, "unclip")
    diffusion.link_shared(workshop.models, "unclip")
    normalizer = StableUnCLIPImageNormalizer(DIMENSION)
    normalizer.mean.data, normalizer.std.data = embeddings.mean[None], embeddings.std[None]
    save_model(normalizer, home / "image_normalizer")
    noising().save_pretrained(home / "image_noising_scheduler")
    pipeline = StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor.from_pretrained(home / "feature_extractor"),
        image_encoder=image_encoder.load(workshop.models),
        image_normalizer=normalizer,
        image_noising_scheduler=noising(),
        tokenizer=tokenizer.build(),
        text_encoder=diffusion.load_text_encoder(workshop.models),
        unet=unet,
        scheduler=diffusion.scheduler(),
        vae=vae.load(workshop.models),
    )
    pipeline.save_config(home)
