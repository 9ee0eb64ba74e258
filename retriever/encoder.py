"""CLIP: texts and images to unit vectors of one space."""

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from servicekit.devices import find_device
from servicekit.errors import Precondition
from servicekit.weights import HALF

_CONFIG = "open_clip_config.json"
# What open_clip calls its weights, the better first. Clones of the hub hold others beside them:
# pickles, and transformers' model.safetensors.
_WEIGHTS = ("open_clip_model", "open_clip_pytorch_model")

Vectors = NDArray[np.float32]
# What a tower takes: token ids [m] or preprocessed pixels [3, height, width].
Prepared = Any

# Inputs of every call of a tower: a lone image costs as much as 16, a pool half as much as by 4s.
_ROWS = 16


@runtime_checkable
class Encoder(Protocol):
    """Two towers into one space. Preparing is thread-safe; encoding is for one thread."""

    id: str
    device: str  # Its kind.
    dimension: int

    def prepare_texts(self, texts: Sequence[str]) -> list[Prepared]:
        """Tokenises; texts longer than the model's context are cut off."""

    def cut_texts(self, texts: Sequence[str]) -> list[int]:
        """Returns the positions of the texts that are longer than the model's context."""

    def prepare_images(self, images: Sequence[Image.Image]) -> list[Prepared]:
        """Resizes and normalises RGB images."""

    def encode_texts(self, prepared: Sequence[Prepared]) -> Vectors:
        """Returns unit vectors [n, dimension]."""

    def encode_images(self, prepared: Sequence[Prepared]) -> Vectors:
        """Returns unit vectors [n, dimension]."""


class ClipEncoder:
    """An open_clip model of a local folder.

    The id is the folder's name and the digest of its weights and configuration, so two encoders
    of equal id give equal vectors. Raises Precondition if the folder is not an open_clip model
    of safetensors.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        from models.torchvision_cpu import declare_missing_operators

        declare_missing_operators()
        import open_clip
        import torch

        weights = _weights(folder)
        name = f"local-dir:{folder.absolute()}"
        place = find_device(device, "RETRIEVER_DEVICE")
        # Left to itself, open_clip may choose a pickle.
        with _without_alarm():
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, device=place, load_weights=False
            )
        open_clip.load_checkpoint(model, str(weights))
        self._torch, self._device = torch, place
        self.device = place.type
        self._model = model.eval().requires_grad_(False)
        self._preprocess = preprocess
        self._tokenize = open_clip.get_tokenizer(name)
        # A tokenizer keeps the length of the call that it is in.
        self._tokenizing = threading.Lock()
        self._context = int(model.context_length)
        self.id = f"{folder.name}@{_digest(folder)[:16]}"
        self.dimension = len(self.encode_texts(self.prepare_texts(["a"]))[0])

    def prepare_texts(self, texts: Sequence[str]) -> list[Prepared]:
        with self._tokenizing:
            return list(self._tokenize(list(texts)))

    def cut_texts(self, texts: Sequence[str]) -> list[int]:
        # A text that is cut ends in the last place; with one place more, a word stands there.
        with self._tokenizing:
            read = self._tokenize(list(texts))
            wider = self._tokenize(list(texts), context_length=self._context + 1)
        differ = (read != wider[:, : self._context]).any(dim=1).tolist()
        return [number for number, is_cut in enumerate(differ) if is_cut]

    def prepare_images(self, images: Sequence[Image.Image]) -> list[Prepared]:
        return [self._preprocess(image) for image in images]

    def encode_texts(self, prepared: Sequence[Prepared]) -> Vectors:
        return self._encode(self._model.encode_text, prepared)

    def encode_images(self, prepared: Sequence[Prepared]) -> Vectors:
        return self._encode(self._model.encode_image, prepared)

    def _encode(self, tower: Any, prepared: Sequence[Prepared]) -> Vectors:
        # Floating point depends on the shape of a batch, so every call of a tower has one shape: a
        # vector then depends on its own input alone, bit for bit.
        with self._torch.inference_mode():
            batch = self._torch.stack(list(prepared))
            padded = self._torch.zeros(-len(batch) % _ROWS, *batch.shape[1:], dtype=batch.dtype)
            chunks = self._torch.cat([batch, padded]).to(self._device).split(_ROWS)
            features = self._torch.cat([tower(chunk).float() for chunk in chunks])[: len(batch)]
            # Normalised in float32 on the host, so that the length is 1 whatever the precision.
            vectors: Vectors = features.cpu().numpy()
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@contextmanager
def _without_alarm() -> Iterator[None]:
    """Keeps open_clip's warning, that the weights are random, out of the log: they are loaded."""
    root = logging.getLogger()

    def is_other(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)


def _weights(folder: Path) -> Path:
    """Returns the weights to load, having looked for what open_clip would need.

    Those of half precision are loaded where there are no others. Raises Precondition.
    """
    ends = (".safetensors", f".{HALF}.safetensors")
    names = [f"{name}{end}" for end in ends for name in _WEIGHTS]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not (folder / _CONFIG).is_file() or not found:
        missing = names[0] if (folder / _CONFIG).is_file() else _CONFIG
        raise Precondition(
            f"{folder} is not an open_clip model: {missing} is missing; point RETRIEVER_CLIP at "
            "a folder that has it",
            subject=str(folder),
            reason="MODEL_MISSING",
        )
    try:
        with safe_open(found[0], "np"):
            return found[0]
    except SafetensorError as error:
        raise Precondition(
            f"{found[0]} is not a whole safetensors file ({error}); get it again, or "
            "convert it if it is a pickle, which is never loaded",
            subject=str(folder),
            reason="MODEL_BROKEN",
        ) from error


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".txt"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
