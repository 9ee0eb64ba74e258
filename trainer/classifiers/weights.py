"""Starts a network from weights of its own architecture, and freezes all but its head.

The head is the last linear layer, which belongs to the classes: it is new where their number is
another one.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.strategies.base import UnfitModelError

_NAMED = 3
# Counts batches, and is not in every file.
_COUNTER = "num_batches_tracked"


def load_weights(network: nn.Module, file: Path) -> None:
    """Loads the weights of a safetensors file. Raises UnfitModelError for those of another network.

    In place of a head of another shape there is a new one, whose weights are as small as torch
    makes those of a linear layer: some networks of timm begin with ones of their own that, for few
    classes, drown what the features say.
    """
    try:
        weights = load_file(str(file))
    except SafetensorError as error:
        raise UnfitModelError(
            f"the initial weights are no safetensors file ({error}); convert them"
        ) from error
    own, place = network.state_dict(), _place_of_head(network)
    head = {name for name in own if name.startswith(f"{place}.")}
    is_new = any(name in weights and weights[name].shape != own[name].shape for name in head)
    if is_new:
        weights = {name: value for name, value in weights.items() if name not in head}
    wanted = {name for name in own if not name.endswith(_COUNTER)} - (head - weights.keys())
    _check(own, weights, wanted)
    network.load_state_dict(weights, strict=False)
    if is_new:
        network.get_submodule(place).reset_parameters()  # type: ignore[operator]


def freeze(network: nn.Module) -> list[nn.Module]:
    """Keeps all parameters but the head's as they are.

    Returns the modules that have to stay in the mode for testing, so that the statistics of batch
    norms stay as well. Raises UnfitModelError without a linear layer.
    """
    place = _place_of_head(network)
    if not place:
        raise UnfitModelError("this classifier has no linear layer to train; train all of it")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(f"{place}."))
    return [
        module
        for name, module in network.named_modules()
        if name and not name.startswith(place) and not place.startswith(f"{name}.")
    ]


@torch.inference_mode()
def check_size(network: nn.Module, name: str, size: int) -> None:
    """Raises UnfitModelError for a network that cannot take images of this size."""
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UnfitModelError(
            f"the classifier {name!r} cannot take images of {size} x {size} pixels: {error}; use "
            "another image_size"
        ) from error
    finally:
        network.train(was_training)


def _place_of_head(network: nn.Module) -> str:
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else ""


def _check(own: dict[str, Tensor], weights: dict[str, Tensor], wanted: set[str]) -> None:
    wrong = [
        ("it lacks", sorted(wanted - weights.keys())),
        ("it has in addition", sorted(weights.keys() - own.keys())),
        (
            "of another shape are",
            sorted(n for n in wanted & weights.keys() if own[n].shape != weights[n].shape),
        ),
    ]
    found = [f"{what} {_names(names)}" for what, names in wrong if names]
    if found:
        raise UnfitModelError(
            f"the initial weights are of another architecture: {'; '.join(found)}; give weights of "
            "this very classifier"
        )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} tensors ({', '.join(names[:_NAMED])}{more})"
