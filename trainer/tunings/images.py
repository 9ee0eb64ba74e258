"""The images of a tuning, and their latents."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from trainer.data.images import Chosen, open_images
from trainer.data.samples import ROWS

# Latents that are kept; those of more images are made again whenever they are drawn.
_KEPT_BYTES = 1 << 30


class TuningImages:
    """Images to train on come before those that are held out, the training images of no test.

    `rows.npz` holds `path`, the place of the images in the cache, and of each image its `rows`
    there, its place among the classes (`labels`) and its `keys`, a number of 64 bits; the first
    `train_count` are trained on.
    """

    def __init__(self, folder: Path, size: int) -> None:
        rows = dict(np.load(folder / ROWS))
        self._images = Chosen((open_images(Path(str(rows["path"])), size), rows["rows"]))
        self.labels: NDArray[np.int64] = rows["labels"]
        self.keys: NDArray[np.uint64] = rows["keys"]
        self.train_count = int(rows["train_count"])
        self._of_class = {
            int(label): np.flatnonzero(self.labels[: self.train_count] == label)
            for label in np.unique(self.labels)
        }

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, row: int) -> Image.Image:
        """Returns one image."""
        return Image.fromarray(self._images.read(row))

    def training_rows(self, label: int) -> NDArray[np.int64]:
        """Returns the images of a class that are trained on."""
        return self._of_class[label]


class Latents:
    """The autoencoder's distributions of the latents of images."""

    def __init__(self, images: TuningImages, autoencoder: Autoencoder) -> None:
        self._images, self._autoencoder = images, autoencoder
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    @torch.no_grad()
    def drawn(self, row: int, generator: torch.Generator) -> Tensor:
        """Returns a latent [1, c, h, w] in the U-Net's scale, drawn from its distribution."""
        posterior = self._posterior(row)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
        return self._autoencoder.scaled(posterior.mean + posterior.std * noise)

    @torch.no_grad()
    def beside(self, row: int) -> Tensor:
        """Returns the latent [c, h, w] as InstructPix2Pix takes it: likeliest and not scaled."""
        latent: Tensor = self._posterior(row).mode()[0]
        return latent

    def _posterior(self, row: int) -> Any:
        if row in self._kept:
            return self._kept[row]
        [posterior] = self._autoencoder.posteriors([self._images.picture(row)])
        size = posterior.parameters.numel() * posterior.parameters.element_size() * 4
        if self._bytes + size <= _KEPT_BYTES:
            self._kept[row] = posterior
            self._bytes += size
        return posterior
