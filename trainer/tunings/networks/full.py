"""The whole U-Net is learned."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.artefacts.facts import Kind
from trainer.tunings.base import Piece, Setting


class Full:
    """All weights of the U-Net; written in half the precision in which they are learned."""

    def __init__(self, setting: Setting) -> None:
        unet = setting.pipeline.unet
        unet.requires_grad_(True)
        if setting.placement.device.type == "cuda":
            unet.enable_gradient_checkpointing()
        self._setting = setting
        self._names = [name for name, _ in unet.named_parameters()]
        self.tensors = [parameter for _, parameter in unet.named_parameters()]

    def pieces(self, values: Sequence[Tensor]) -> Sequence[Piece]:
        halves = [value.to(torch.float16) for value in values]
        tensors = dict(zip(self._names, halves, strict=True))
        names = self._setting.spec.class_names
        name = names[0] if len(names) == 1 else ""
        return [Piece(Kind.UNET, tensors, self._setting.images.train_count, name)]


create = Full
