"""CLIP: an open_clip model whose image tower starts with convolutions, so that it learns fast."""

import json
import random
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from models.nano.recipe import captions, tokenizer
from models.nano.recipe.photos import Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop, save_float16
from models.nano.recipe.training import Schedule, Trace, Trainer

IMAGE_SIZE = 64  # pixels; photographs are enlarged
TEXT_WIDTH, TEXT_LAYERS, TEXT_HEADS = 128, 3, 4
EMBEDDING = 128
MODEL = {
    "embed_dim": EMBEDDING,
    "vision_cfg": {
        "image_size": IMAGE_SIZE,
        "layers": [1, 2, 2, 1],
        "width": 24,
        "head_width": 64,
    },
    "text_cfg": {
        "context_length": tokenizer.CONTEXT,
        "vocab_size": tokenizer.VOCABULARY,
        "hf_tokenizer_name": "tokenizer in this folder",
        "width": TEXT_WIDTH,
        "heads": TEXT_HEADS,
        "layers": TEXT_LAYERS,
    },
}
PREPROCESS = {
    "size": IMAGE_SIZE,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def enlarge(images: Tensor, size: int = IMAGE_SIZE) -> Tensor:
    """[n, 3, 32, 32] floats -> [n, 3, size, size], bicubic as the folder's preprocessing is."""
    return nn.functional.interpolate(images, size=size, mode="bicubic", antialias=True)


def encode_text(model: Any, ids: Tensor) -> Tensor:
    """open_clip's `encode_text` without the padding that all rows share; [n, m] -> unit [n, d]."""
    length = int((ids != tokenizer.END).sum(1).max()) + 1
    ids = ids[:, :length]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    pooled = x[torch.arange(len(ids), device=ids.device), ids.argmax(1)] @ model.text_projection
    return nn.functional.normalize(pooled.float(), dim=-1)


def contrast(images: Tensor, texts: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """Symmetric cross-entropy with many positives: [n, d], [k, d] and a [k, n] truth table."""
    logits = scale * texts @ images.T
    share = positive.float()
    by_text = share / share.sum(1, keepdim=True)
    found = share.sum(0) > 0
    by_image = (share[:, found] / share[:, found].sum(0)).T
    loss_text = -(by_text * logits.log_softmax(1)).sum(1).mean()
    loss_image = -(by_image * logits[:, found].T.log_softmax(1)).sum(1).mean()
    return (loss_text + loss_image) / 2


def agree(stated: Tensor, seen: Tensor) -> Tensor:
    """Which texts hold for which images: stated [k, 4] (ANY = open), seen [n, 4] -> [k, n]."""
    open_ended = stated[:, None] == captions.ANY
    return (open_ended | (stated[:, None] == seen[None])).all(2)


class TextSampler:
    """Draws training texts for photographs: a phrasing, sometimes with unknown words in it."""

    def __init__(self, photos: Photos) -> None:
        self.names = photos.names
        self.facts = captions.facts_of(photos.labels, captions.look(photos.images))
        self.seen = torch.tensor([facts.row() for facts in self.facts])
        self.tokenizer = tokenizer.build()

    def draw(
        self, rows: list[int], rng: random.Random, *, noise: float = 0.3
    ) -> tuple[Tensor, Tensor]:
        """Rows -> ids [n, m] and what the texts state [n, 4]."""
        pairs = [captions.rephrase(self.facts[row], self.names, rng) for row in rows]
        ids = tokenizer.encode(self.tokenizer, [text for text, _ in pairs])
        return tokenizer.splice(ids, rng, share=noise), torch.tensor([f.row() for _, f in pairs])


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Trains both towers from nothing; writes `clip/`, an open_clip folder."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**MODEL).to(workshop.device, memory_format=torch.channels_last)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(128),
        learning_rate=1.5e-3,
        weight_decay=0.05,
        ema_decay=0.99,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("clip"))
    sampler = TextSampler(photos)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        pixels = enlarge(as_floats(jitter(photos.images[rows], generator)).to(workshop.device))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        images = nn.functional.normalize(model.visual(pixels).float(), dim=-1)
        rng = random.Random(int(rows.sum()))
        ids, stated = sampler.draw(rows[: schedule.batch_size // 2].tolist(), rng)
        texts = encode_text(model, ids.to(workshop.device))
        positive = agree(stated, sampler.seen[rows]).to(workshop.device)
        scale = model.logit_scale.clamp(max=4.6).exp()
        return contrast(images, texts, scale, positive)

    model.train()
    trace = trainer.run(loss_of)
    write(model, workshop.models / "clip")
    return trace


def write(model: nn.Module, folder: Path) -> None:
    """Writes open_clip's folder: configuration, weights and tokenizer."""
    save_float16(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save(folder)


def image_tower(workshop: Workshop) -> Any:
    """The image tower, finished or as far as its training has come: first layers settle early."""
    if (workshop.models / "clip" / "open_clip_model.safetensors").is_file():
        return load(workshop.models)[0].visual
    model = open_clip.CLIP(**MODEL)
    model.load_state_dict(torch.load(workshop.checkpoint("clip"), weights_only=True)["module"])
    return model.visual.eval().requires_grad_(False)


def load(folder: Path) -> tuple[Any, Any]:
    """Loads (model, preprocess) from the nano folder as any open_clip user would."""
    name = f"local-dir:{folder / 'clip'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    return model.eval().requires_grad_(False), preprocess
