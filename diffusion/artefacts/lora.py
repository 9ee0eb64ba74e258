"""LoRA: low-rank changes of layers, merged into their weights (Hu et al. 2021, section 4.1).

W' = W + alpha / r * B A, which costs nothing at each step; the ranks of a file may differ by layer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from diffusion.artefacts.errors import mismatch

_A, _B, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
# What else diffusers calls them: its training scripts write the first, its pipelines the prefix.
_SYNONYMS = {".lora.down.weight": _A, ".lora.up.weight": _B}
_PREFIXES = ("unet.", "base_model.model.")
_SETTINGS = "lora_adapter_metadata"
# Settings of PEFT under which a merge is another sum than the one above.
_OTHER_SUMS = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")


@dataclass(frozen=True, eq=False)
class Lora:
    """The change of a layer: `down` is A [r, in] and `up` is B [out, r], or kernels [.., .., h, w].

    `scale` is alpha / r.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def shape(self) -> torch.Size:
        """The shape of the weight that it changes."""
        return torch.Size((len(self.up), *self.down.shape[1:]))

    def change(self) -> Tensor:
        """Returns what is added to the layer's weight, in float32 and of its shape."""
        down, up = self.down.float(), self.up.float()
        if down.ndim == 2:
            return self.scale * (up @ down)
        # Composed kernels are a convolution, too: B's are one pixel wide.
        return self.scale * conv2d(down.transpose(0, 1), up).transpose(0, 1)


def renamed(
    tensors: Mapping[str, Tensor], header: Mapping[str, str], uri: str
) -> dict[str, Tensor]:
    """Returns the tensors of a LoRA of diffusers or PEFT as `split` reads them, others as they are.

    Raises BadArtefact for settings of PEFT that are not served.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for other, own in _SYNONYMS.items():
            name = name.removesuffix(other) + own if name.endswith(other) else name
        if name.endswith((_A, _B, _ALPHA)):
            for prefix in _PREFIXES:
                name = name.removeprefix(prefix)
        found[name] = tensor
    alpha = _alpha(header, uri)
    if alpha is not None:
        for name in [name for name in found if name.endswith(_A)]:
            found.setdefault(name.removesuffix(_A) + _ALPHA, torch.tensor(alpha))
    return found


def _alpha(header: Mapping[str, str], uri: str) -> float | None:
    """Returns the alpha of all layers that diffusers writes into the header; None without one."""
    settings = json.loads(header.get(_SETTINGS, "{}"))
    said = {name.removeprefix("unet."): value for name, value in settings.items()}
    for name in _OTHER_SUMS:
        if said.get(name):
            raise mismatch(f"{uri} is a LoRA with {name}, which is not served; merge it beforehand")
    return float(said["lora_alpha"]) if "lora_alpha" in said else None


def split(
    tensors: Mapping[str, Tensor], uri: str
) -> tuple[Mapping[str, Tensor], Mapping[str, Lora]]:
    """Returns the tensors of no LoRA, and the LoRA of each layer by the layer's name.

    Raises BadArtefact where a half is missing, or the halves do not fit each other.
    """
    layers = {name.removesuffix(end) for end in (_A, _B) for name in tensors if name.endswith(end)}
    loras: dict[str, Lora] = {}
    for layer in sorted(layers):
        down, up = tensors.get(layer + _A), tensors.get(layer + _B)
        if down is None or up is None:
            missing = _A if down is None else _B
            raise mismatch(f"{uri} is half a LoRA: {layer + missing} is missing")
        is_pair = down.ndim == up.ndim and down.ndim in (2, 4) and up.shape[1] == len(down)
        if not is_pair or tuple(up.shape[2:]) not in ((), (1, 1)):
            raise mismatch(
                f"{uri} is no LoRA: of {layer} A has the shape {list(down.shape)} and B "
                f"{list(up.shape)}; the rows of A must be the columns of B"
            )
        alpha = tensors.get(layer + _ALPHA)
        scale = 1.0 if alpha is None else float(alpha) / len(down)
        loras[layer] = Lora(down, up, scale)
    of_loras = {layer + end for layer in layers for end in (_A, _B, _ALPHA)}
    return {name: t for name, t in tensors.items() if name not in of_loras}, loras
