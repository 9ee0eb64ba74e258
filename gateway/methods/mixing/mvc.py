"""Mixing Visual Concepts: what makes new text embeddings out of those of a class's captions.

The draws of MVC's Algorithm 1 (lines 4, 6, 7, 11, 12 and 13). The embeddings themselves are the
generator's, which mixes them as these say.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.methods.mixing import draws

COARSE_STEPS, FINE_STEPS = 2, 8  # P and Q; the paper leaves them open, these are ours.


@dataclass(frozen=True)
class Mixes:
    """The draws of N mixes: which captions, rows and columns. Slices are half-open, never empty.

    start [N]; coarse_source, coarse_from, coarse_to [N, P]; fine_source, fine_row, fine_from,
    fine_to [N, Q]. Sources number the captions of the class from 0.
    """

    start: draws.Integers
    coarse_source: draws.Integers
    coarse_from: draws.Integers
    coarse_to: draws.Integers
    fine_source: draws.Integers
    fine_row: draws.Integers
    fine_from: draws.Integers
    fine_to: draws.Integers

    def __len__(self) -> int:
        return len(self.start)


def draw(
    seeds: NDArray[np.uint64],
    *,
    caption_count: int,
    shape: tuple[int, int],
    coarse_steps: int = COARSE_STEPS,
    fine_steps: int = FINE_STEPS,
) -> Mixes:
    """Draws lines 4, 6, 7, 11, 12 and 13 of Algorithm 1 for one item per seed.

    `shape` is (m, d), tokens and features. A source is any caption but the one an item starts
    from; with a single caption there is nothing to mix and every mix is that caption. Draw i of an
    item keeps its meaning whatever P and Q, so that more steps only add edits.
    """
    if caption_count < 1:
        raise ValueError("a class needs at least one caption to mix")
    if min(coarse_steps, fine_steps) < 0:
        raise ValueError("the numbers of coarse and fine steps must not be negative")
    if caption_count == 1:
        coarse_steps = fine_steps = 0
    m, d = shape
    seeds = np.asarray(seeds, np.uint64)
    start = draws.below(draws.uniforms(seeds, 1)[:, 0], caption_count)
    coarse = draws.uniforms(seeds ^ np.uint64(0xC0A25E), 3 * coarse_steps)
    fine = draws.uniforms(seeds ^ np.uint64(0xF13E), 4 * fine_steps)
    coarse_from, coarse_to = draws.slices(coarse[:, 1::3], coarse[:, 2::3], m)
    fine_from, fine_to = draws.slices(fine[:, 2::4], fine[:, 3::4], d)
    return Mixes(
        start=start,
        coarse_source=_other(coarse[:, 0::3], start, caption_count),
        coarse_from=coarse_from,
        coarse_to=coarse_to,
        fine_source=_other(fine[:, 0::4], start, caption_count),
        fine_row=draws.below(fine[:, 1::4], m),
        fine_from=fine_from,
        fine_to=fine_to,
    )


def _other(numbers: draws.Uniforms, start: draws.Integers, caption_count: int) -> draws.Integers:
    """Maps uniform numbers to any caption but the one started from."""
    source = draws.below(numbers, max(caption_count - 1, 1))
    return source + (source >= start[:, None])


def describe(mixes: Mixes) -> list[dict[str, Any]]:
    """Returns the draws of each mix as lineage: coarse [source, r, s], fine [source, w, u, v]."""
    coarse = np.stack([mixes.coarse_source, mixes.coarse_from, mixes.coarse_to], axis=-1)
    fine = np.stack([mixes.fine_source, mixes.fine_row, mixes.fine_from, mixes.fine_to], axis=-1)
    every = zip(mixes.start.tolist(), coarse.tolist(), fine.tolist(), strict=True)
    return [{"start": start, "coarse": rough, "fine": small} for start, rough, small in every]
