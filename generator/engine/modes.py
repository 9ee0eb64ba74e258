"""The registry of modes: how an item is begun, laid out in rows and guided."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from generator.engine.image_to_image import ImageToImageMode
from generator.engine.items import Condition, Item
from generator.engine.model import Model
from generator.engine.pix2pix import Pix2PixMode
from generator.engine.sample import Row, Sample
from generator.engine.text import TextMode
from generator.engine.unclip import UnclipMode


class Mode(Protocol):
    """One way to make images.

    `model_mode` is the mode of the models that serve it, `condition` the image condition it takes.
    """

    name: str
    model_mode: str
    condition: type[Condition] | None

    def begin(self, model: Model, samples: Sequence[Sample]) -> None:
        """Sets the latents and conditions of new samples, encoding their images together."""

    def rows(self, sample: Sample) -> list[Row]:
        """Returns the rows of the U-Net call: the unconditional one first, if guided."""

    def combine(self, sample: Sample, predictions: Tensor) -> Tensor:
        """Returns the guided output [1, c, h, w] of the sample's rows [n, c, h, w]."""


MODES: tuple[Mode, ...] = (TextMode(), ImageToImageMode(), Pix2PixMode(), UnclipMode())
_BY_CONDITION = {mode.condition: mode for mode in MODES}


def mode_of(item: Item) -> Mode:
    """Returns the mode that makes the item; `check_item` has made sure that the model fits."""
    return _BY_CONDITION[type(item.condition) if item.condition is not None else None]
