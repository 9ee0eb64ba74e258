"""A seeded plan of scenes, so that prompts differ in what DIVERSIFY says they should."""

import math
import random
from dataclasses import dataclass

from prompter.strategy import read_lines


@dataclass(frozen=True)
class Scene:
    """Where, in which light, from which side, and with what a thing is seen."""

    place: str
    light: str
    viewpoint: str
    companion: str


_LISTS = ("places.txt", "lights.txt", "viewpoints.txt", "companions.txt")


class ScenePlan:
    """Scene i of a seeded plan.

    Each list is shuffled and cycled through, so every place comes once before any comes twice, and
    so on. The lengths of the lists have no common divisor (checked), which makes all combinations
    come once before any comes twice: 61 x 11 x 9 x 16 = 96,624 scenes, more than a request may ask
    for. Scene i depends on the random generator's seed and i alone.
    """

    def __init__(self, rng: random.Random) -> None:
        self._lists = [_shuffled(read_lines(name), rng) for name in _LISTS]
        lengths = [len(lines) for lines in self._lists]
        if math.lcm(*lengths) != math.prod(lengths):
            raise ValueError(
                f"{', '.join(_LISTS)} have {lengths} lines; their lengths must not share a divisor,"
                " or scenes repeat early; add or remove a line"
            )
        self.scene_count = math.prod(lengths)

    def __getitem__(self, index: int) -> Scene:
        return Scene(*(lines[index % len(lines)] for lines in self._lists))


def _shuffled(lines: tuple[str, ...], rng: random.Random) -> list[str]:
    return rng.sample(lines, len(lines))
