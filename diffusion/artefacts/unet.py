"""A U-Net with the tensors of an artefact in it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from diffusion.artefacts import lora
from diffusion.artefacts.errors import mismatch


def state_with(
    unet: torch.nn.Module, tensors: Mapping[str, Tensor], uri: str
) -> Mapping[str, Tensor]:
    """Returns the tensors of `unet` that an artefact changes, as they are with it.

    Raises BadArtefact for a tensor or a LoRA of a layer that the U-Net does not have or that has
    another shape there.
    """
    own = unet.state_dict()
    plain, loras = lora.split(tensors, uri)
    state: dict[str, Tensor] = {}
    for name, tensor in plain.items():
        _check(name, tensor, own, uri)
        state[name] = tensor.to(own[name])
    for layer, pair in loras.items():
        name = f"{layer}.weight"
        if name not in own:
            raise mismatch(
                f"{uri} is not of this model: it is a LoRA of {layer!r}, a layer that the U-Net "
                "does not have"
            )
        change = pair.change().to(own[name].device)
        _check(f"the LoRA of {layer}", change, {f"the LoRA of {layer}": own[name]}, uri)
        before = state.get(name, own[name])
        state[name] = (before.float() + change).to(own[name].dtype)
    return state


def _check(name: str, tensor: Tensor, own: Mapping[str, Tensor], uri: str) -> None:
    if name not in own:
        wrong = "which the U-Net does not have"
    elif tensor.shape != own[name].shape:
        wrong = f"of shape {list(tensor.shape)}; the U-Net's has {list(own[name].shape)}"
    else:
        return
    raise mismatch(f"{uri} is not of this model: it holds {name!r}, {wrong}")
