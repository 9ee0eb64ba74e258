"""A seeded plan of scenes, so that prompts differ in what DIVERSIFY says they should."""

import math
import random
from collections.abc import Sequence


class Combinations:
    """Combination i of a seeded plan: one word of each list.

    Each list is shuffled and cycled through, so that every place comes once before any comes twice,
    and so on, and every combination comes once before any comes twice, whatever the lengths of the
    lists. Combination i depends on the lists, the random generator's seed and i alone.
    """

    def __init__(self, lists: Sequence[Sequence[str]], rng: random.Random) -> None:
        self._lists = [rng.sample(list(words), len(words)) for words in lists]
        self.count = 1
        self._rounds: list[tuple[int, int]] = []
        for words in lists:
            # Lists whose lengths share a divisor would meet in the same pairs again after their
            # least common multiple: from there on, the later list is shifted by one.
            common = math.lcm(self.count, len(words))
            self.count *= len(words)
            self._rounds.append((self.count, common))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        return tuple(
            words[(index + index % count // common) % len(words)]
            for words, (count, common) in zip(self._lists, self._rounds, strict=True)
        )
