"""The shape that every family of diffusion models has, and the names of a U-Net's inputs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from diffusion.embeddings import Inputs
from diffusion.folder import ModelFolder
from diffusion.words import Prompt

if TYPE_CHECKING:
    from diffusion.card import ModelCard

# Names of inputs. A family reads those that it knows.
TEXT = "text"  # The matrix [m, d] of a text.
POOLED_TEXT = "pooled_text"  # The vector [p] of a text, beside the matrix.
SIZES = "sizes"  # The size [6] of the image that is wanted: original, crop, target.
CONCATENATED = "concatenated"  # Channels [c, h, w] that lie beside the noisy latent.
IMAGE_EMBEDDING = "image_embedding"  # An embedding [d] of the model's image encoder.
SCALE = "scale"  # The weight [1] of that embedding.
CLASS_LABEL = "class_label"  # A vector that is added to the embedding of the time.

# What else image conditions may use of a model.
START = "start"  # A latent to start from instead of noise.
NOISE_LEVEL = "noise_level"  # How much noise is added to an image embedding.


class Family(Protocol):
    """The models of some pipelines of diffusers: how they encode text and how they are called.

    `mode` is what callers call it and `title` what people do. `pipelines` are the classes of the
    folders that it serves, `left_out` the parts that are not loaded, `text_encoders` those that
    encode text. `accepts` is what image conditions may use of them, and with `needs_image` there
    must be one. With `takes_adapter` an IP-Adapter may lie beside a model.
    """

    mode: str
    title: str
    pipelines: tuple[str, ...]
    left_out: tuple[str, ...]
    text_encoders: tuple[str, ...]
    accepts: tuple[str, ...]
    needs_image: bool
    takes_adapter: bool

    def text_shapes(self, folder: ModelFolder) -> Mapping[str, tuple[int, ...]]:
        """Returns the shapes of the tensors that stand for a text. Raises BrokenModel."""

    def encode_texts(
        self, pipeline: Any, prompts: Sequence[Prompt], device: torch.device
    ) -> Mapping[str, Tensor]:
        """Returns what stands for some prompts, each tensor with a row per prompt."""

    def constant_inputs(self, card: "ModelCard") -> Inputs:
        """Returns what every row is given, where its condition gives nothing else."""

    def embedding_inputs(
        self,
        pipeline: Any,
        embedding: Tensor,
        generator: torch.Generator,
        *,
        noise_level: int = 0,
        scale: float = 1.0,
    ) -> tuple[Inputs, Inputs]:
        """Returns what the U-Net is given for an image embedding [d], and what for none.

        Draws from `generator` what noise it takes. `noise_level` and `scale` are read by models
        that accept them.
        """

    def call_unet(self, unet: Any, latents: Tensor, times: Tensor, inputs: Inputs) -> Tensor:
        """Returns the U-Net's output [n, c, h, w] for n rows."""

    def vae_dtype(self, vae: Any, dtype: torch.dtype) -> torch.dtype:
        """Returns the numbers in which the autoencoder runs, where the others are `dtype`."""

    def scale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        """Returns latents [n, c, h, w] of the autoencoder as the U-Net wants them."""

    def unscale_latents(self, vae: Any, latents: Tensor) -> Tensor:
        """Returns the U-Net's latents [n, c, h, w] as the autoencoder wants them."""
