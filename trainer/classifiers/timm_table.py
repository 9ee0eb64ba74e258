"""What timm's networks were trained on, as data that a server reads without torch.

`python -m trainer.classifiers.timm_table` writes the table of the timm that is installed.
"""

import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "timm_networks.toml"
_SMALLEST, _LARGEST = 32, 1024
_HEAD = "# Written by `python -m trainer.classifiers.timm_table`, of timm's own table.\n"


@dataclass(frozen=True)
class Pixels:
    """Pixels that a network takes: sizes in pixels, mean and deviation of channels in 0 to 1.

    `usual_image` is the size that it was trained at.
    """

    usual_image: int
    smallest_image: int
    largest_image: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@cache
def timm_networks() -> Mapping[str, Pixels]:
    """All networks by NAME, and by NAME.TAG for each set of weights that timm knows of one.

    The name alone is for the weights that are timm's first choice.
    """
    found: dict[str, Pixels] = {}
    for group in tomllib.loads(TABLE.read_text(encoding="utf-8"))["alike"]:
        names = group.pop("networks")
        pixels = Pixels(**group | {key: tuple(group[key]) for key in ("mean", "std")})
        found |= dict.fromkeys(names, pixels)
    return found


def listed() -> Mapping[str, Pixels]:
    """The same as timm itself tells, which loads torch."""
    from models.torchvision_cpu import declare_missing_operators

    declare_missing_operators()
    from timm.models import get_pretrained_cfg, list_models

    bare, tagged = list_models(), list_models(include_tags=True)
    return {name: _pixels(get_pretrained_cfg(name)) for name in sorted({*bare, *tagged})}


def _pixels(told: Any) -> Pixels:
    size = min(told.input_size[1:])  # of the few that are not square the shorter side
    smallest, largest = max((_SMALLEST, *(told.min_input_size or ())[1:])), _LARGEST
    if told.fixed_input_size:
        smallest = largest = size
    return Pixels(size, smallest, largest, tuple(told.mean), tuple(told.std))


def _write() -> None:
    groups = defaultdict(list)
    for name, pixels in listed().items():
        groups[pixels].append(name)
    parts = [_HEAD]
    for pixels, names in sorted(groups.items(), key=lambda one: one[1]):
        lines = [f"{key} = {list(v) if isinstance(v, tuple) else v}" for key, v in _plain(pixels)]
        text = textwrap.fill(", ".join(f'"{name}"' for name in names), 98, break_on_hyphens=False)
        listing = textwrap.indent(text, "  ")
        parts.append("\n".join(["[[alike]]", *lines, f"networks = [\n{listing},\n]\n"]))
    TABLE.write_text("\n".join(parts), encoding="utf-8")


def _plain(pixels: Pixels) -> list[tuple[str, Any]]:
    return list(asdict(pixels).items())


if __name__ == "__main__":
    _write()
