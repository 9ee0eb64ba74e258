"""The text and image encoders of a model, apart from what denoises."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffusion.card import Card
from diffusion.embeddings import FloatArray, Text
from diffusion.fixed_shapes import in_chunks
from diffusion.loading import load_pipeline
from diffusion.placement import Placement

# Encoders always run in calls of this many rows: what they give is then bit-identical everywhere,
# and they are a small share of the work.
ENCODER_ROWS = 4
_CACHED_PROMPTS = 256


class Encoders:
    """The encoders of a pipeline on one device. Not thread-safe: one thread owns them."""

    def __init__(self, pipeline: Any, card: Card, placement: Placement) -> None:
        self.card = card
        self._pipeline = pipeline
        self._device, self._dtype = placement.device, placement.dtype
        self._prompts: OrderedDict[str, Tensor] = OrderedDict()

    def texts(self, texts: Sequence[Text]) -> list[Tensor]:
        """Returns the embedding [m, d] of each text; what is an embedding already is only moved."""
        self._remember(list(dict.fromkeys(text for text in texts if isinstance(text, str))))
        return [
            self._prompts[text]
            if isinstance(text, str)
            else torch.from_numpy(text).to(self._device, self._dtype)
            for text in texts
        ]

    def images(self, sources: Sequence[FloatArray | Image.Image]) -> list[Tensor]:
        """Returns the embedding [d] of each image; what is an embedding already is only moved."""
        images = [source for source in sources if isinstance(source, Image.Image)]
        embedded = iter(self._embed(images) if images else ())
        return [
            next(embedded)
            if isinstance(source, Image.Image)
            else torch.from_numpy(source).to(self._device, self._dtype)
            for source in sources
        ]

    def _remember(self, prompts: Sequence[str]) -> None:
        """Makes sure that the cache holds these prompts, as its newest."""
        new = [prompt for prompt in prompts if prompt not in self._prompts]
        if new:
            rows = self._encode_ids(self._token_ids(new))
            self._prompts.update(zip(new, rows, strict=True))
        for prompt in prompts:
            self._prompts.move_to_end(prompt)
        while len(self._prompts) > max(_CACHED_PROMPTS, len(prompts)):
            self._prompts.popitem(last=False)

    def _token_ids(self, prompts: Sequence[str]) -> Tensor:
        tokens = self._pipeline.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.card.text_shape[0],
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = tokens.input_ids
        return ids.to(self._device)

    def _encode_ids(self, ids: Tensor) -> Tensor:
        def encode(rows: Tensor) -> Tensor:
            embedding: Tensor = self._pipeline.text_encoder(rows)[0]
            return embedding

        return in_chunks(encode, (ids,), ENCODER_ROWS, pad=True)

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        features = self._pipeline.feature_extractor(images=list(images), return_tensors="pt")
        pixels = features.pixel_values.to(self._device, self._dtype)

        def embed(rows: Tensor) -> Tensor:
            embedding: Tensor = self._pipeline.image_encoder(rows).image_embeds
            return embedding

        return in_chunks(embed, (pixels,), ENCODER_ROWS, pad=True)


def load_encoders(card: Card, placement: Placement) -> Encoders:
    """Loads the encoders alone. Raises BrokenModel."""
    return Encoders(load_pipeline(card, placement, without=("unet", "vae")), card, placement)


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """Returns a float32 array of its own."""
    return tensor.float().cpu().numpy().copy()
