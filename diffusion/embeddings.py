"""What stands for texts and images: named tensors, and embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffusion.mixing import CaptionMix
from diffusion.words import Word

FloatArray = NDArray[np.float32]

# The arrays that stand for a text, by the names of the model's family: most have a matrix alone.
TextArrays = Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class WordedText:
    """A prompt or a mix of captions in which pseudo-words may stand."""

    text: str | CaptionMix
    words: tuple[Word, ...]


@dataclass(frozen=True, eq=False)
class LearnedText:
    """What was learned to stand for a text; `sha256` is the digest of the artefact."""

    arrays: TextArrays
    sha256: str


# A prompt, a mix of captions, either with learned words, what was learned in place of a text, or
# what the model's own text encoder made of one. "" is the null text.
Text = str | CaptionMix | WordedText | LearnedText | TextArrays

# What a U-Net is given beside latents and times, by the names of the model's family: of one row, or
# stacked of many.
Inputs = Mapping[str, Tensor]
