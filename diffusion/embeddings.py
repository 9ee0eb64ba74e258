"""What stands for texts and images: named tensors, and embeddings."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffusion.mixing import CaptionMix

FloatArray = NDArray[np.float32]

# The arrays that stand for a text, by the names of the model's family: most have a matrix alone.
TextArrays = Mapping[str, FloatArray]

# A prompt, a mix of captions, or what the model's own text encoder made of a text. "" is the null
# text.
Text = str | CaptionMix | TextArrays

# What a U-Net is given beside latents and times, by the names of the model's family: of one row, or
# stacked of many.
Inputs = Mapping[str, Tensor]
