"""Which images of a class are whose, where several methods make some of them."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from gateway.mixes import apportioned

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Quota:
    """The part of each class's images that one method makes: that of `shares` with this number.

    The images of a class stand in a row in which each method's are spread evenly, so that the first
    n of them have nearly the shares of all. A method numbers its own from 0, and they do not depend
    on what else is in the mix.
    """

    shares: tuple[Fraction, ...] = (Fraction(1),)
    number: int = 0

    @property
    def is_whole(self) -> bool:
        """Says whether all images are this method's."""
        return len(self.shares) == 1

    def of(self, count: int, first: int | None = None) -> int:
        """Returns how many of `count` images are its own, of all or of the `first` in the row."""
        if self.is_whole:
            return count if first is None else min(first, count)
        own = apportioned(count, self.shares)[self.number]
        if first is None or first >= count or not own:
            return own
        places = self.places(np.arange(own), np.full(own, count))
        return int(np.searchsorted(places, first))

    def places(self, numbers: Numbers, counts: Numbers) -> Numbers:
        """Returns where its own images [n], by their numbers, stand in the rows of their classes,
        which have `counts` [n] images in all.

        Numbers beyond its own images stand behind the whole row, in order.
        """
        if self.is_whole:
            return numbers
        sizes = {count: apportioned(count, self.shares) for count in set(counts.tolist())}
        shared = np.array([sizes[count] for count in counts.tolist()], np.int64).reshape(
            -1, len(self.shares)
        )
        own = shared[:, self.number]
        places = np.array(numbers, np.int64)
        for other in range(len(self.shares)):
            if other != self.number:
                # Image j of n stands at (2 j + 1) / 2 n of the row; of equal places the method that
                # was named first is first.
                ahead = (2 * numbers + 1) * shared[:, other] - own
                step = np.maximum(2 * own, 1)
                before = ahead // step + 1 if other < self.number else -(-ahead // step)
                places += np.clip(before, 0, shared[:, other])
        return np.where(numbers < own, places, counts + numbers - own)
