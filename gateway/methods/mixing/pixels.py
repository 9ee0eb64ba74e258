"""AUGCOND's augmentations of pixels, section 3: MixUp and CutMix of two images of a class.

Drawn from an item's own seed, so that the plan and the lineage hold them; the generator applies
them to the images at its model's size.
"""

from dataclasses import dataclass

from gateway.methods.mixing.embedding import Drawn, EmbedMixUp, numbers


@dataclass(frozen=True)
class MixUp:
    """l * first + (1 - l) * second, of pixels, with l ~ Beta(1, 1), which is uniform on [0, 1)."""

    share: float

    @classmethod
    def draw(cls, seed: int, dimension: int) -> "MixUp":
        return cls(EmbedMixUp.draw(seed, dimension).share)

    def lineage(self) -> Drawn:
        return {"lambda": self.share}


@dataclass(frozen=True)
class CutMix:
    """A box of the second image in the first, with about 1 - l of its area, l ~ Beta(1, 1).

    As in CutMix (Yun et al. 2019, Algorithm 1) the box has the image's proportions and its centre
    anywhere, so that the border may cut it. Its sides are shares of width and height, 0 to 1.
    """

    share: float
    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def draw(cls, seed: int, dimension: int) -> "CutMix":
        share, x, y = map(float, numbers(seed, 0xB0C5, 3))
        half = (1 - share) ** 0.5 / 2
        return cls(
            share, max(x - half, 0.0), max(y - half, 0.0), min(x + half, 1.0), min(y + half, 1.0)
        )

    def lineage(self) -> Drawn:
        return {"lambda": self.share, "box": [self.left, self.top, self.right, self.bottom]}
