"""What a tuning is made of: a text and a network, parts of which are learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from diffusion.artefacts.facts import Kind
from diffusion.card import ModelCard
from diffusion.embeddings import Inputs
from diffusion.families.base import Family
from diffusion.placement import Placement
from trainer.tunings.images import TuningImages
from trainer.tunings.values import TuneSpec


@dataclass(frozen=True, eq=False)
class Samples:
    """Images that are drawn for one batch, and what else is drawn for each.

    `rows` are their places among the images, `labels` those of their classes, and each generator
    has a seed of its own.
    """

    rows: Sequence[int]
    labels: Sequence[int]
    generators: Sequence[torch.Generator]


@dataclass(frozen=True, eq=False)
class Setting:
    """What there is to learn with: the model's parts, and the images."""

    spec: TuneSpec
    card: ModelCard
    family: Family
    pipeline: Any
    placement: Placement
    images: TuningImages


@dataclass(frozen=True, eq=False)
class Piece:
    """What is written as one artefact. `image_count` are the training images that it is of."""

    kind: Kind
    tensors: Mapping[str, Tensor]
    image_count: int
    class_name: str = ""
    word: str = ""
    suffix: str = ""


class Text(Protocol):
    """What stands for texts while something is learned."""

    tensors: Sequence[Parameter]
    """What is learned of it."""

    def inputs(self, samples: Samples) -> Inputs:
        """Returns what the U-Net is given for the samples' texts, a row for each."""

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        """Returns what is written of `values`, which are what `tensors` were at some time."""

    def notes(self) -> Sequence[str]:
        """Returns what was cut, in sentences."""


class Network(Protocol):
    """The U-Net, and what is learned of it."""

    tensors: Sequence[Parameter]
    """What is learned of it."""

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        """Returns what is written of `values`, which are what `tensors` were at some time."""


def chosen(count: int, generator: torch.Generator) -> int:
    """Returns a number from 0 to count - 1, drawn evenly."""
    return int(torch.randint(count, (1,), generator=generator))
