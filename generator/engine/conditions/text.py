"""The text alone: pure noise, guided by a prompt or its embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from diffusion.card import ModelCard
from generator.engine.conditions.base import Condition, Reader

if TYPE_CHECKING:
    from generator.engine.model import LoadedModel
    from generator.engine.sample import Sample


@dataclass(frozen=True, eq=False)
class TextAlone(Condition):
    """No image condition."""

    name = ""
    uses = ""

    @classmethod
    async def from_pb(cls, message: Any, field: str, reader: Reader) -> Self:
        return cls()

    @classmethod
    def example(cls, card: ModelCard) -> Self:
        return cls()

    def check(self, card: ModelCard) -> None:
        """There is nothing that could be wrong."""

    def identity(self, *, is_guided: bool) -> None:
        return None

    @classmethod
    def begin(cls, model: "LoadedModel", samples: Sequence["Sample"]) -> None:
        for sample in samples:
            sample.start_from_noise(sample.draw_noise(model))


CONDITION = TextAlone
