"""A loaded model: diffusers' own components, and the calls the engine makes to them."""

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from generator.engine.card import Card
from generator.engine.errors import BrokenModel
from generator.engine.items import FloatArray, Text
from generator.engine.pixels import to_tensor
from generator.engine.settings import EngineSettings
from generator.engine.shapes import in_chunks
from models.torchvision_cpu import declare_missing_operators

_log = logging.getLogger(__name__)

# Encoders always run in calls of this many rows: what they give is then bit-identical everywhere,
# and they are a small share of the work.
_ENCODER_ROWS = 4
_CACHED_PROMPTS = 256


class Model:
    """The components of a pipeline on one device. Not thread-safe: the engine's worker owns it."""

    def __init__(self, card: Card, settings: EngineSettings) -> None:
        self.card = card
        self.device = device_of(settings.device)
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self._settings = settings
        self.pipeline = _load(card, self.dtype, self.device)
        self.latent_shape = self._latent_shape()
        self._row_limit = 4096
        self._prompts: OrderedDict[str, Tensor] = OrderedDict()
        self._schedules: dict[int, Any] = {}

    def schedule(self, steps: int) -> Any:
        """Returns a scheduler of its own, with its steps set."""
        if steps not in self._schedules:
            scheduler = copy.deepcopy(self.pipeline.scheduler)
            scheduler.set_timesteps(steps, device=self.device)
            self._schedules[steps] = scheduler
        return copy.deepcopy(self._schedules[steps])

    def texts(self, texts: Sequence[Text]) -> list[Tensor]:
        """Returns the embedding [m, d] of each text; what is an embedding already is only moved."""
        self._remember(list(dict.fromkeys(text for text in texts if isinstance(text, str))))
        return [
            self._prompts[text]
            if isinstance(text, str)
            else torch.from_numpy(text).to(self.device, self.dtype)
            for text in texts
        ]

    def image_embeddings(self, sources: Sequence[FloatArray | Image.Image]) -> list[Tensor]:
        """Returns the embedding [d] of each image; what is an embedding already is only moved."""
        images = [source for source in sources if isinstance(source, Image.Image)]
        embedded = iter(self._embed(images) if images else ())
        return [
            next(embedded)
            if isinstance(source, Image.Image)
            else torch.from_numpy(source).to(self.device, self.dtype)
            for source in sources
        ]

    def posteriors(self, images: Sequence[Image.Image]) -> list[Any]:
        """Returns the distribution of the unscaled latent [1, c, h, w] of each image."""
        card = self.card
        pixels = torch.stack([to_tensor(image, card.width, card.height) for image in images])
        pixels = pixels.to(self.device, self.dtype)

        kinds: list[type] = []

        def encode(rows: Tensor) -> Tensor:
            posterior = self.pipeline.vae.encode(rows).latent_dist
            kinds.append(type(posterior))
            parameters: Tensor = posterior.parameters
            return parameters

        moments = in_chunks(encode, (pixels,), _ENCODER_ROWS, pad=True)
        return [kinds[0](row[None]) for row in moments]

    def decode(self, latents: Tensor, *, fixed: bool) -> Tensor:
        """Returns the images [n, 3, height, width] of scaled latents [n, c, h, w]."""

        def decode(rows: Tensor) -> Tensor:
            image: Tensor = self.pipeline.vae.decode(rows, return_dict=False)[0]
            return image

        unscaled = latents / self.scaling_factor
        return in_chunks(decode, (unscaled,), self._settings.decode_batch, pad=fixed)

    def predict(
        self, latents: Tensor, times: Tensor, texts: Tensor, labels: Tensor | None, *, fixed: bool
    ) -> Tensor:
        """Returns the U-Net's output [n, c, h, w] for n rows, each at its own time.

        `fixed` rows run in calls of one shape. Otherwise they run in one call, or in halves of it
        for as long as the device's memory does not suffice.
        """
        inputs = (latents, times, texts, labels)
        if fixed:
            return in_chunks(self._unet, inputs, self._settings.deterministic_rows, pad=True)
        while True:
            try:
                return in_chunks(self._unet, inputs, self._row_limit, pad=False)
            except torch.OutOfMemoryError:
                self._row_limit = min(self._row_limit, len(latents)) // 2
                _log.warning("out of memory; going on with %d rows a call", self._row_limit)
                if self._row_limit < 1:
                    self._row_limit = 1
                    raise

    @property
    def scaling_factor(self) -> float:
        """The factor between the autoencoder's latents and the U-Net's."""
        return float(self.pipeline.vae.config.scaling_factor)

    def _unet(self, latents: Tensor, times: Tensor, texts: Tensor, labels: Tensor | None) -> Tensor:
        output: Tensor = self.pipeline.unet(
            latents, times, encoder_hidden_states=texts, class_labels=labels, return_dict=False
        )[0]
        return output

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
        tokens = self.pipeline.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.card.text_shape[0],
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = tokens.input_ids
        return ids.to(self.device)

    def _encode_ids(self, ids: Tensor) -> Tensor:
        def encode(rows: Tensor) -> Tensor:
            embedding: Tensor = self.pipeline.text_encoder(rows)[0]
            return embedding

        return in_chunks(encode, (ids,), _ENCODER_ROWS, pad=True)

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        features = self.pipeline.feature_extractor(images=list(images), return_tensors="pt")
        pixels = features.pixel_values.to(self.device, self.dtype)

        def embed(rows: Tensor) -> Tensor:
            embedding: Tensor = self.pipeline.image_encoder(rows).image_embeds
            return embedding

        return in_chunks(embed, (pixels,), _ENCODER_ROWS, pad=True)

    def _latent_shape(self) -> tuple[int, int, int, int]:
        vae = self.pipeline.vae.config
        scale = 2 ** (len(vae.block_out_channels) - 1)
        return (1, int(vae.latent_channels), self.card.height // scale, self.card.width // scale)


def device_of(name: str) -> torch.device:
    """Returns the device; "auto" is CUDA if there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """Returns a float32 array of its own."""
    return tensor.float().cpu().numpy().copy()


def _load(card: Card, dtype: torch.dtype, device: torch.device) -> Any:
    # Pipelines import torchvision if it is installed, and it must find its operators.
    declare_missing_operators()
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    kind: Callable[..., Any] = getattr(diffusers, card.pipeline).from_pretrained
    # The safety filter is the retriever's, for all sources of images alike.
    without = {} if card.mode == "unclip" else {"safety_checker": None}
    try:
        pipeline = kind(
            card.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=True,
            **without,
        )
    except Exception as error:
        raise BrokenModel(card.name, f"its components do not load: {error}") from error
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(device).requires_grad_(False).eval()
    return pipeline
