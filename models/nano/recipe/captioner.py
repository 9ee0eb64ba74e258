"""The captioner: BLIP-2 in small. It learns to write the captions-from-pixels from pixels.

As in BLIP-2 the vision tower starts as CLIP's (here: as the distilled ViT), a Q-Former condenses it
to a few tokens, and an OPT language model continues a prompt behind them.
"""

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import decoders, processors
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from models.nano.recipe import captions, image_encoder, tokenizer
from models.nano.recipe.photos import SIDE, Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop, save_model
from models.nano.recipe.training import Schedule, Trace, Trainer

QUERIES = 8
WIDTH, LAYERS, HEADS = 128, 3, 4
PAD, IMAGE = tokenizer.VOCABULARY, tokenizer.VOCABULARY + 1
VOCABULARY = tokenizer.VOCABULARY + 8
POSITIONS = 64
FREE_SHARE = 0.6  # captions without a prompt
CLASS_WEIGHT = 4.0  # of the tokens that name the class: the hardest and the most needed
IGNORED = -100


def configuration() -> Blip2Config:
    """The architecture."""
    vision = Blip2VisionConfig(
        hidden_size=image_encoder.WIDTH,
        intermediate_size=image_encoder.MODEL["intermediate_size"],
        num_hidden_layers=image_encoder.LAYERS,
        num_attention_heads=image_encoder.HEADS,
        image_size=SIDE,
        patch_size=image_encoder.MODEL["patch_size"],
        layer_norm_eps=1e-5,
    )
    qformer = Blip2QFormerConfig(
        vocab_size=8,
        max_position_embeddings=8,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        cross_attention_frequency=1,
        encoder_hidden_size=image_encoder.WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    language = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        word_embed_proj_dim=WIDTH,
        ffn_dim=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=POSITIONS,
        dropout=0.0,
        bos_token_id=tokenizer.START,
        eos_token_id=tokenizer.END,
        pad_token_id=PAD,
    )
    return Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=language.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=IMAGE,
        initializer_range=0.02,
    )


def text_tokenizer() -> PreTrainedTokenizerFast:
    """The family's tokenizer as a language model needs it: a start token and no end token."""
    backend = tokenizer.build().backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A",
        pair="<|startoftext|> $A $B",
        special_tokens=[("<|startoftext|>", tokenizer.START)],
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.BPEDecoder(suffix="</w>"),
            decoders.Fuse(),
            decoders.Replace(" ,", ","),
            decoders.Replace(" .", "."),
        ]
    )
    result: PreTrainedTokenizerFast = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=["<image>", "<pad>"],
        pad_token="<pad>",
        padding_side="left",
        model_max_length=POSITIONS - QUERIES,
        clean_up_tokenization_spaces=False,
    )
    return result


def processor() -> Blip2Processor:
    """Images and prompts -> model inputs."""
    images = BlipImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    result: Blip2Processor = Blip2Processor(images, text_tokenizer(), num_query_tokens=QUERIES)
    return result


class Sentences:
    """Draws (prompt, continuation) pairs and lays them out behind the image tokens."""

    def __init__(self, photos: Photos) -> None:
        self.names = photos.names
        self.facts = captions.facts_of(photos.labels, captions.look(photos.images))
        self.tokenizer = text_tokenizer()

    def draw(self, rows: list[int], rng: random.Random) -> tuple[Tensor, Tensor]:
        """Rows -> ids [n, l] and labels [n, l] (IGNORED where the model is not asked)."""
        pairs = [self._pair(self.facts[row], rng) for row in rows]
        prompts = self.tokenizer([prompt for prompt, _ in pairs])["input_ids"]
        ends = self.tokenizer([end for _, end in pairs], add_special_tokens=False)["input_ids"]
        sequences, labels = [], []
        for prompt, end in zip(prompts, ends, strict=True):
            start = [IMAGE] * QUERIES + prompt
            sequences.append(start + end + [tokenizer.END])
            labels.append([IGNORED] * len(start) + end + [tokenizer.END])
        longest = max(map(len, sequences))
        padded = [s + [PAD] * (longest - len(s)) for s in sequences]
        asked = [s + [IGNORED] * (longest - len(s)) for s in labels]
        return torch.tensor(padded), torch.tensor(asked)

    def class_tokens(self) -> Tensor:
        """The ids that class names consist of."""
        ids = self.tokenizer(list(self.names), add_special_tokens=False)["input_ids"]
        return torch.tensor(sorted({token for name in ids for token in name}))

    def _pair(self, facts: captions.Facts, rng: random.Random) -> tuple[str, str]:
        chance = rng.random()
        name = self.names[facts.label]
        if chance < FREE_SHARE:
            return "", captions.caption(facts, self.names)
        if chance < FREE_SHARE + 0.1:
            return "a photo of", captions.describe(facts, name)
        noun = rng.choice(captions.LEMMAS.get(name, (name,)))
        comma = rng.random() < 0.6
        described = captions.describe(facts, noun)
        return f"This is an image of {noun}" + "," * comma, "," * (not comma) + f" {described}"


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Writes `captioner/`: Blip2ForConditionalGeneration and its processor."""
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(configuration())
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    adopt(model.vision_model, image_encoder.load(workshop.models), as_floats(photos.images[::500]))
    model.to(workshop.device)
    sentences = Sentences(photos)
    naming = sentences.class_tokens().to(workshop.device)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(64),
        learning_rate=1e-3,
        weight_decay=0.05,
        ema_decay=0.998,
    )
    trainer = Trainer(model, schedule, workshop.checkpoint("captioner"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        pixels = as_floats(jitter(photos.images[rows], generator, margin=2)).to(workshop.device)
        ids, labels = sentences.draw(rows.tolist(), random.Random(int(rows.sum())))
        ids, labels = ids.to(workshop.device), labels.to(workshop.device)
        logits = model(
            pixel_values=pixels, input_ids=ids, attention_mask=(ids != PAD).long()
        ).logits
        return sentence_loss(logits[:, :-1].float(), labels[:, 1:], naming)

    model.train()
    trace = trainer.run(loss_of)
    save_model(model, workshop.models / "captioner")
    processor().save_pretrained(workshop.models / "captioner")
    return trace


def sentence_loss(logits: Tensor, labels: Tensor, naming: Tensor) -> Tensor:
    """Cross-entropy of the asked tokens; those that name a class count more. [n, l, v], [n, l]."""
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    weights = (labels != IGNORED) * torch.where(torch.isin(labels, naming), CLASS_WEIGHT, 1.0)
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def adopt(vision: Any, source: Any, images: Tensor) -> None:
    """Starts BLIP-2's vision tower from a CLIP ViT.

    BLIP-2's tower lacks CLIP's normalisation in front of the layers. Its shift and scale move into
    the embeddings: exactly for the class token, with the mean scale over `images` for patches.
    """
    source = getattr(source, "vision_model", source)
    old, new = source.embeddings, vision.embeddings
    norm = source.pre_layrnorm
    patches = (old(images)[:, 1:]).std(-1, unbiased=False).mean()
    centre = torch.eye(len(norm.weight)) - 1 / len(norm.weight)
    turn = norm.weight[:, None] * centre / patches
    new.patch_embedding.weight.copy_(
        torch.einsum("oi,ichw->ochw", turn, old.patch_embedding.weight)
    )
    new.patch_embedding.bias.zero_()
    places = old.position_embedding.weight
    new.position_embedding[0, 1:] = places[1:] @ turn.T + norm.bias
    new.class_embedding[0, 0] = norm(old.class_embedding + places[0])
    new.position_embedding[0, 0] = 0
    vision.post_layernorm.load_state_dict(source.post_layernorm.state_dict())
    for mine, theirs in zip(vision.encoder.layers, source.encoder.layers, strict=True):
        weights = theirs.state_dict()
        attention = [f"self_attn.{name}_proj" for name in "qkv"]
        for kind in ("weight", "bias"):
            stacked = torch.cat([weights.pop(f"{name}.{kind}") for name in attention])
            weights[f"self_attn.qkv.{kind}"] = stacked
            weights[f"self_attn.projection.{kind}"] = weights.pop(f"self_attn.out_proj.{kind}")
        mine.load_state_dict(weights)


def load(nano: Path) -> tuple[Any, Any]:
    """(model, processor), ready to write."""
    folder = nano / "captioner"
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False), Blip2Processor.from_pretrained(folder)
