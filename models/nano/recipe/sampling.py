"""Draws images from the shipped folders with diffusers' own pipelines, one generator an image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableUnCLIPImg2ImgPipeline,
)
from torch import Tensor

from models.nano.recipe import captions, diffusion, image_encoder
from models.nano.recipe.photos import Photos
from models.nano.recipe.pix2pix import mix

MODES = ("text", "pix2pix", "unclip")
PIPELINES: dict[str, Any] = {
    "text": StableDiffusionPipeline,
    "pix2pix": StableDiffusionInstructPix2PixPipeline,
    "unclip": StableUnCLIPImg2ImgPipeline,
}


@dataclass(frozen=True)
class Request:
    """`labels` [n] of the images to make, the guidance and the number of steps."""

    labels: Tensor
    guidance: float
    steps: int = 25
    seed: int = 0


class Sampler:
    """One mode's pipeline, conditioned on photographs of the target (which no model has seen)."""

    def __init__(self, nano: Path, mode: str, target: Photos) -> None:
        folder = diffusion.folder(nano, mode)
        self.pipeline = PIPELINES[mode].from_pretrained(folder, torch_dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)
        self.mode, self.target = mode, target
        self.of_class = [(target.labels == c).nonzero()[:, 0] for c in range(len(target.names))]
        if mode == "unclip":
            self.embeddings = image_encoder.embed(image_encoder.load(nano), target.images)

    @torch.inference_mode()
    def draw(self, request: Request, *, batch: int = 100) -> Tensor:
        """Returns images [n, 3, 32, 32] uint8."""
        parts = []
        for place in range(0, len(request.labels), batch):
            labels = request.labels[place : place + batch]
            seeds = range(request.seed + place, request.seed + place + len(labels))
            generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
            made = self.pipeline(
                **self._conditions(labels, request.seed + place),
                guidance_scale=request.guidance,
                num_inference_steps=request.steps,
                generator=generators,
                output_type="pt",
            ).images
            parts.append((made * 255).round().to(torch.uint8))
        return torch.cat(parts)

    def _conditions(self, labels: Tensor, seed: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        names = [self.target.names[int(label)] for label in labels]
        if self.mode == "text":
            prompts = [f"A photo of {name}." for name in names]
            return {"prompt": prompts, "height": 32, "width": 32}
        picks = [len(self.of_class[int(label)]) for label in labels]
        draws = [int(torch.randint(count, (1,), generator=generator)) for count in picks]
        rows = torch.stack([self.of_class[int(c)][d] for c, d in zip(labels, draws, strict=True)])
        if self.mode == "unclip":
            prompts = [f"a photo of {captions.article(name)} {name}" for name in names]
            embeds = self.embeddings[rows]
            return {"prompt": prompts, "image_embeds": embeds, "height": 32, "width": 32}
        return {
            "prompt_embeds": self._mixed(labels, generator),
            "negative_prompt_embeds": self._encode([""]).expand(len(labels), -1, -1),
            "image": self.target.images[rows].float() / 255,
            "image_guidance_scale": 1.0,
        }

    def _mixed(self, labels: Tensor, generator: torch.Generator, *, group: int = 6) -> Tensor:
        """One mixture of captions "This is an image of ..." of the class for each label."""
        mixed = []
        looks = captions.look(self.target.images)
        for label in labels.tolist():
            members = self.of_class[label]
            picks = members[torch.randint(len(members), (group,), generator=generator)]
            name = self.target.names[label]
            facts = [captions.Facts(label, *looks[int(row)].tolist()) for row in picks]
            texts = [f"This is an image of {name}, {captions.describe(f, name)}" for f in facts]
            mixed.append(mix(self._encode(texts), generator)[0])
        return torch.stack(mixed)

    def _encode(self, texts: list[str]) -> Tensor:
        """Texts -> [n, m, d] of the pipeline's own text encoder."""
        ids = self.pipeline.tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return self.pipeline.text_encoder(ids).last_hidden_state  # type: ignore[no-any-return]
