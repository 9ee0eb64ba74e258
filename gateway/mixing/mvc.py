"""Mixing Visual Concepts: new text embeddings out of those of a class's captions.

MVC, Algorithm 1. Line 16, which appends the null-text embedding for classifier-free guidance, is
the generator's: it adds the null text to every item that is guided.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.mixing import draws

Matrix = NDArray[np.float32]

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


def mix(embeddings: Matrix, mixes: Mixes, out: Matrix | None = None) -> Matrix:
    """Applies lines 4 to 15 of Algorithm 1.

    `embeddings` is [K, m, d], one matrix per caption of the class; the result is [N, m, d],
    written into `out` if it is given.
    """
    mixed = np.take(embeddings, mixes.start, axis=0, out=out, mode="clip")
    coarse = zip(
        mixed,
        mixes.coarse_source.tolist(),
        mixes.coarse_from.tolist(),
        mixes.coarse_to.tolist(),
        strict=True,
    )
    for e, sources, starts, stops in coarse:
        for p, r, s in zip(sources, starts, stops, strict=True):
            e[r:s] = embeddings[p, r:s]
    fine = zip(
        mixed,
        mixes.fine_source.tolist(),
        mixes.fine_row.tolist(),
        mixes.fine_from.tolist(),
        mixes.fine_to.tolist(),
        strict=True,
    )
    for e, sources, rows, starts, stops in fine:
        for q, w, u, v in zip(sources, rows, starts, stops, strict=True):
            e[w, u:v] = embeddings[q, w, u:v]
    return mixed


def compact(mixes: Mixes) -> tuple[list[int], Mixes]:
    """Returns which captions the mixes use, ascending, and the same mixes of those alone."""
    used = np.unique(
        np.concatenate([mixes.start, mixes.coarse_source.ravel(), mixes.fine_source.ravel()])
    )
    places = {
        name: np.searchsorted(used, getattr(mixes, name))
        for name in ("start", "coarse_source", "fine_source")
    }
    return used.tolist(), replace(mixes, **places)


def stream(
    embeddings: Matrix,
    seeds: NDArray[np.uint64],
    *,
    coarse_steps: int = COARSE_STEPS,
    fine_steps: int = FINE_STEPS,
    block: int = 16,
) -> Iterator[Matrix]:
    """Yields the mixes of all seeds, [<= block, m, d] at a time, in constant memory.

    Every block is written over the one before: use or copy it before asking for the next.
    """
    count, m, d = embeddings.shape
    buffer = np.empty((block, m, d), embeddings.dtype)
    for first in range(0, len(seeds), block):
        mixes = draw(
            seeds[first : first + block],
            caption_count=count,
            shape=(m, d),
            coarse_steps=coarse_steps,
            fine_steps=fine_steps,
        )
        yield mix(embeddings, mixes, out=buffer[: len(mixes)])


def describe(mixes: Mixes, number: int) -> dict[str, Any]:
    """Returns the draws of one mix as lineage: coarse [source, r, s], fine [source, w, u, v]."""
    coarse = np.stack(
        [mixes.coarse_source[number], mixes.coarse_from[number], mixes.coarse_to[number]], axis=-1
    )
    fine = np.stack(
        [
            mixes.fine_source[number],
            mixes.fine_row[number],
            mixes.fine_from[number],
            mixes.fine_to[number],
        ],
        axis=-1,
    )
    return {
        "start": int(mixes.start[number]),
        "coarse": coarse.tolist(),
        "fine": fine.tolist(),
    }
