"""A low-rank change of the U-Net's attention (Hu et al. 2021, section 4.1).

Of each projection of queries, keys, values and outputs, W' = W + B A; the rank is that of A. A is
drawn and B zero at first, so that learning begins at the model as it is.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.functional import linear

from diffusion.artefacts.facts import Kind
from diffusion.noise import generator_of
from trainer.tunings.base import Piece, Setting

_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


class Lora:
    """A pair of matrices for each layer, A [rank, in] and B [out, rank]."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        unet, rank = setting.pipeline.unet, setting.spec.rank
        if setting.placement.device.type == "cuda":
            unet.enable_gradient_checkpointing()
        generator = generator_of(setting.spec.seed)
        self._names: list[str] = []
        self.tensors: list[Parameter] = []
        for name, layer in unet.named_modules():
            if name.endswith(_LAYERS) and isinstance(layer, nn.Linear):
                drawn = torch.randn(rank, layer.in_features, generator=generator)
                down = Parameter((drawn / sqrt(layer.in_features)).to(layer.weight.device))
                up = Parameter(torch.zeros(layer.out_features, rank, device=down.device))
                layer.register_forward_hook(_changed(down, up))
                self._names += [f"{name}.lora_A.weight", f"{name}.lora_B.weight"]
                self.tensors += [down, up]

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        halves = [value.to(torch.float16) for value in values]
        tensors = dict(zip(self._names, halves, strict=True))
        names = self._setting.spec.class_names
        name = names[0] if len(names) == 1 else ""
        return [Piece(Kind.UNET, tensors, self._setting.images.train_count, name)]


def _changed(down: Tensor, up: Tensor) -> Callable[[Any, Any, Tensor], Tensor]:
    def hook(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        change = linear(linear(inputs[0], down.to(inputs[0].dtype)), up.to(inputs[0].dtype))
        return output + change.to(output.dtype)

    return hook


create = Lora
