"""Reads the photographs from parquet and keeps them as one tensor in memory."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from models.nano.recipe.split import divide

SIDE = 32  # pixels


class PhotosMissing(FileNotFoundError):
    """The folder given with --photos lacks train.parquet or test.parquet."""


@dataclass(frozen=True)
class Photos:
    """`images` [n, 3, 32, 32] uint8 RGB, `labels` [n] int64, `files` the JPEG bytes."""

    images: Tensor
    labels: Tensor
    files: tuple[bytes, ...]
    names: tuple[str, ...]

    def subset(self, rows: list[int]) -> "Photos":
        """Returns the photographs of these rows, in this order."""
        index = torch.tensor(rows, dtype=torch.int64)
        files = tuple(self.files[row] for row in rows)
        return Photos(self.images[index], self.labels[index], files, self.names)


def read(folder: Path, split: str) -> Photos:
    """Reads `<folder>/<split>.parquet` (columns image{bytes, path}, label, class_name)."""
    path = folder / f"{split}.parquet"
    if not path.is_file():
        raise PhotosMissing(
            f"--photos {folder}: {path.name} not found; expected CIFAR-10 as train.parquet and "
            "test.parquet with columns image{bytes, path}, label, class_name"
        )
    table: Any = pq.read_table(path, columns=["image", "label", "class_name"])
    files = tuple(row["bytes"] for row in table["image"].to_pylist())
    labels: list[int] = table["label"].to_pylist()
    classes: list[str] = table["class_name"].to_pylist()
    names = dict(zip(labels, classes, strict=True))
    pixels = np.stack([decode(file) for file in files])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Photos(images, torch.tensor(labels), files, tuple(names[i] for i in sorted(names)))


def decode(file: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Decodes one image file to [32, 32, 3] uint8 RGB."""
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.uint8)


def pool(folder: Path) -> Photos:
    """The photographs that models may learn from."""
    train = read(folder, "train")
    rows, _ = divide(train.files, train.labels.tolist())
    return train.subset(rows)


def as_floats(images: Tensor) -> Tensor:
    """uint8 [n, 3, h, w] -> float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


def jitter(images: Tensor, generator: torch.Generator, *, margin: int = 4) -> Tensor:
    """Mirrors half of the images and shifts each by up to `margin` pixels; [n, 3, 32, 32]."""
    count, _, height, width = images.shape
    mirrored = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = torch.nn.functional.pad(images.float(), [margin] * 4, mode="reflect").to(images.dtype)
    offsets = torch.randint(0, 2 * margin + 1, (2, count), generator=generator)
    rows = (offsets[0, :, None] + torch.arange(height))[:, None, :, None]
    columns = (offsets[1, :, None] + torch.arange(width))[:, None, None, :]
    return padded[
        torch.arange(count)[:, None, None, None], torch.arange(3)[:, None, None], rows, columns
    ]
