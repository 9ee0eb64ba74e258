"""What a captioner takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class CaptionTask:
    """An RGB image, the text its caption starts with, and the longest continuation in tokens."""

    image: Image.Image
    prefix: str
    max_tokens: int


@dataclass(frozen=True)
class Caption:
    """A caption, prefix included, and the mean natural-log probability of its new tokens."""

    text: str
    mean_log_prob: float


class Captioner(Protocol):
    """Writes captions. Blocking; called from one thread at a time."""

    @property
    def id(self) -> str:
        """The model's name and the first 12 characters of its digest."""

    def caption(self, tasks: Sequence[CaptionTask]) -> list[Caption | Exception]:
        """Returns one caption or error per task, in order. A caption depends on its task alone."""
