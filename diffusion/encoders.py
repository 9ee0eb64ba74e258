"""The text and image encoders of a model, apart from what denoises."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffusion.card import ModelCard
from diffusion.embeddings import (
    FloatArray,
    Inputs,
    LearnedText,
    Text,
    TextArrays,
    WordedText,
)
from diffusion.families.base import TEXT
from diffusion.families.registry import family_of
from diffusion.fixed_shapes import ENCODER_ROWS, in_chunks
from diffusion.loading import load_pipeline
from diffusion.mixing import CaptionMix
from diffusion.placement import Placement
from diffusion.words import Prompt, prompt_of

# Of a class of two thousand captions each is encoded once, at the size of Stable Diffusion's.
_CACHED_BYTES = 512 * 2**20


class Encoders:
    """The encoders of a pipeline on one device. Not thread-safe: one thread owns them."""

    def __init__(self, pipeline: Any, card: ModelCard, placement: Placement) -> None:
        self.card = card
        self._pipeline = pipeline
        self._device, self._dtype = placement.device, placement.dtype
        self._family = family_of(card.pipeline, card.name)
        self._prompts: OrderedDict[Prompt, Inputs] = OrderedDict()
        self._bytes = 0

    def texts(self, texts: Sequence[Text]) -> list[Inputs]:
        """Returns what stands for each text; what is encoded already is only moved."""
        prompts = (prompt for text in texts for prompt in _prompts(text))
        self._remember(list(dict.fromkeys(prompts)))
        return [self._text(text) for text in texts]

    def _text(self, text: Text) -> Inputs:
        match text:
            case str() | CaptionMix() | WordedText():
                whole, prompts = _read(text)
                encoded = [self._prompts[prompt] for prompt in prompts]
                if isinstance(whole, str):
                    return encoded[0]
                mixed = whole.of([caption[TEXT] for caption in encoded])
                return {**encoded[whole.start], TEXT: mixed}
            case LearnedText():
                return self._text(text.arrays)
            case _:
                return {name: self._moved(values) for name, values in text.items()}

    def images(self, sources: Sequence[FloatArray | Image.Image]) -> list[Tensor]:
        """Returns the embedding [d] of each image; what is an embedding already is only moved."""
        images = [source for source in sources if isinstance(source, Image.Image)]
        embedded = iter(self._embed(images) if images else ())
        return [
            next(embedded) if isinstance(source, Image.Image) else self._moved(source)
            for source in sources
        ]

    def _moved(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(self._device, self._dtype)

    def _remember(self, prompts: Sequence[Prompt]) -> None:
        """Makes sure that the cache holds these prompts, as its newest."""
        new = [prompt for prompt in prompts if prompt not in self._prompts]
        if new:
            encoded = self._family.encode_texts(self._pipeline, new, self._device)
            for number, prompt in enumerate(new):
                # Copies: a row that stays would keep all that were encoded with it.
                self._prompts[prompt] = {n: rows[number].clone() for n, rows in encoded.items()}
                self._bytes += _bytes_of(self._prompts[prompt])
        for prompt in prompts:
            self._prompts.move_to_end(prompt)
        while self._bytes > _CACHED_BYTES and len(self._prompts) > len(prompts):
            _, oldest = self._prompts.popitem(last=False)
            self._bytes -= _bytes_of(oldest)

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        features = self._pipeline.feature_extractor(images=list(images), return_tensors="pt")
        pixels = features.pixel_values.to(self._device, self._dtype)

        def embed(rows: Tensor) -> Tensor:
            embedding: Tensor = self._pipeline.image_encoder(rows).image_embeds
            return embedding

        return in_chunks(embed, (pixels,), ENCODER_ROWS, pad=True)


def _read(text: str | CaptionMix | WordedText) -> tuple[str | CaptionMix, list[Prompt]]:
    """Returns a text without its words, and the prompts that are encoded for it, with theirs."""
    whole, words = (text.text, text.words) if isinstance(text, WordedText) else (text, ())
    captions = [whole] if isinstance(whole, str) else whole.captions
    return whole, [prompt_of(caption, words) for caption in captions]


def _prompts(text: Text) -> Sequence[Prompt]:
    return _read(text)[1] if isinstance(text, str | CaptionMix | WordedText) else []


def _bytes_of(inputs: Inputs) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in inputs.values())


def load_encoders(card: ModelCard, placement: Placement) -> Encoders:
    """Loads the encoders alone. Raises BrokenModel."""
    return Encoders(load_pipeline(card, placement, without=("unet", "vae")), card, placement)


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """Returns a float32 array of its own."""
    return tensor.float().cpu().numpy().copy()


def as_arrays(inputs: Inputs) -> TextArrays:
    """Returns float32 arrays of their own."""
    return {name: as_array(tensor) for name, tensor in inputs.items()}
