"""What an artefact changes in a U-Net."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.artefacts.errors import mismatch
from diffusion.artefacts.lora import Lora, split


@dataclass(frozen=True, eq=False)
class UnetChange:
    """Tensors that replace those of the same name, and LoRAs by the weights that they change."""

    replaced: Mapping[str, Tensor]
    loras: Mapping[str, Lora]

    @torch.no_grad()
    def apply(self, unet: torch.nn.Module) -> None:
        """Changes a U-Net in place. Sums are made in float32; one of nothing changes no bit."""
        own = unet.state_dict()
        for name, tensor in self.replaced.items():
            own[name].copy_(tensor)
        for name, lora in self.loras.items():
            weight = own[name]
            weight.copy_(weight.float() + lora.change().to(weight.device))


def read_change(unet: torch.nn.Module, tensors: Mapping[str, Tensor], uri: str) -> UnetChange:
    """Returns what the tensors of an artefact change in a U-Net.

    Raises BadArtefact for a tensor or a LoRA of a layer that the U-Net does not have, or that has
    another shape there.
    """
    own = unet.state_dict()
    replaced, loras = split(tensors, uri)
    for name, tensor in replaced.items():
        if name not in own:
            raise _foreign(uri, f"it holds {name!r}, which the U-Net does not have")
        if tensor.shape != own[name].shape:
            raise _foreign(
                uri,
                f"it holds {name!r}, of shape {list(tensor.shape)}; the U-Net's has "
                f"{list(own[name].shape)}",
            )
    for layer, lora in loras.items():
        weight = own.get(f"{layer}.weight")
        if weight is None:
            raise _foreign(uri, f"it is a LoRA of {layer!r}, which the U-Net does not have")
        if lora.shape != weight.shape:
            raise _foreign(
                uri,
                f"its LoRA of {layer!r} changes a weight of shape {list(lora.shape)}; the U-Net's "
                f"has {list(weight.shape)}",
            )
    return UnetChange(replaced, {f"{layer}.weight": lora for layer, lora in loras.items()})


def _foreign(uri: str, why: str) -> Exception:
    return mismatch(f"{uri} is not of this model: {why}")
