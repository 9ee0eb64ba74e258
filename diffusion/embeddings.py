"""What stands for texts and images: embeddings."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

# A prompt, or an embedding [m, d] of the model's own text encoder. "" is the null text.
Text = str | FloatArray
