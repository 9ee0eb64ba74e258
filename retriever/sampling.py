"""Draws of images at random from an index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.metadata import Filter, Metadata


@dataclass(frozen=True)
class Draw:
    """Which images are drawn: `count` of one order of all, which the seed determines."""

    seed: int
    skip: int
    count: int


@dataclass(frozen=True)
class SampledImage:
    """One image that was drawn."""

    image_uri: str
    sha256: str


def sample(metadata: Metadata, filters: Sequence[Filter], draw: Draw) -> list[SampledImage]:
    """Returns images that meet all filters. Raises InvalidArgument for one that does not fit."""
    rows = metadata.matching(filters)
    order = np.random.default_rng(draw.seed).permutation(metadata.count if rows is None else rows)
    taken = metadata.take(order[draw.skip : draw.skip + draw.count], ("image_uri", "sha256"))
    return [SampledImage(*map(str, values)) for values in zip(*taken.values(), strict=True)]
