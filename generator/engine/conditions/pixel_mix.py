"""What conditions that mix the pixels of two images have in common (AUGCOND, section 3)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from PIL import Image

from diffusion.card import ModelCard
from diffusion.errors import BadCondition
from diffusion.families.base import IMAGE_EMBEDDING, NOISE_LEVEL
from generator.engine.conditions.base import Reader
from generator.engine.conditions.embeddings import ImageEmbedding
from servicekit.errors import InvalidArgument

Mix = Callable[[Image.Image, Image.Image], Image.Image]


@dataclass(frozen=True, eq=False)
class PixelMix(ImageEmbedding):
    """Conditions on the embedding of two images' mix, of which some features may be set to zero.

    Both are cropped to the model's size first. `source` is the mix, or its embedding; `sha256`
    stands for both files and for the features. `noise_level` is in steps of the model's own noising
    schedule, 0 to 999.
    """

    noise_level: int = field(default=0, kw_only=True)

    uses = IMAGE_EMBEDDING
    models = (
        "models of mode 'unclip' and those with an IP-Adapter, in their folder or among the "
        "artefacts of the call"
    )

    @classmethod
    async def read(cls, message: Any, field: str, reader: Reader, mix: Mix, **how: Any) -> Self:
        """Returns the condition whose two images `mix` makes one."""
        first, one = await reader.picture(message.first_image_uri, f"{field}.first_image_uri")
        second, other = await reader.picture(message.second_image_uri, f"{field}.second_image_uri")
        embedding = np.array(await reader.embed(mix(first, second)))
        zeroed = np.array(sorted(set(message.zeroed_features)), np.int32)
        if len(zeroed) and zeroed[-1] >= len(embedding):
            raise InvalidArgument(
                f"there is no feature {zeroed[-1]} to set to zero: the embedding has "
                f"{len(embedding)}, numbered from 0",
                field=f"{field}.zeroed_features",
                reason="OUT_OF_RANGE",
            )
        embedding[zeroed] = 0
        files = f"{one} {other}"
        if len(zeroed):
            files += f" without {hashlib.sha256(zeroed.astype('<i4').tobytes()).hexdigest()}"
        return cls(embedding, sha256=files, noise_level=message.noise_level, **how)

    def check(self, card: ModelCard) -> None:
        name = f"image.{self.name}.noise_level"
        if not 0 <= self.noise_level < 1000:
            raise BadCondition(name, "OUT_OF_RANGE", "the noise level is 0 to 999")
        if self.noise_level and NOISE_LEVEL not in card.accepts:
            raise BadCondition(
                name,
                "NO_NOISE_LEVEL",
                f"model {card.name!r} reads image embeddings with an adapter, which adds no noise, "
                f"and noise_level is {self.noise_level}; leave it at 0",
            )
        super().check(card)

    def identity(self, *, is_guided: bool) -> dict[str, Any]:
        noise = {"noise_level": self.noise_level} if self.noise_level else {}
        return {self.name: self.source_identity(), **noise, **self.mix_identity()}

    def mix_identity(self) -> dict[str, Any]:
        """Returns what determines the mix besides its images."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        return {"noise_level": self.noise_level}
