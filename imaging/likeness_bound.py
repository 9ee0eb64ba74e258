"""The most that likeness.py can find, for many pictures at once and at a fraction of its cost.

Likeness is the correlation of detail for one of 91 crops and two views. Here are upper bounds of
all of them: exact numerators, over the least length that the detail of a crop of its size has.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.fingerprint import SIDE, Thumbnail, dct
from imaging.likeness import CROP_SPANS, SOFTEN, SURROUND, detail, normalised

Lengths = NDArray[np.float32]
Templates = NDArray[np.float32]

# Sizes of crops.
SIZES = len(CROP_SPANS)
# Detail above these frequencies is left out of the lengths, which makes them a little less.
_KEPT = 12
_HALF = SIDE // 2
# Pictures at a time: what is worked on stays in the caches.
_BLOCK = 64


def least_lengths(thumbnails: Thumbnail) -> Lengths:
    """Returns the least length of the detail of crops of each size, [n, 6], of [n, 32, 32].

    They depend on the known pictures alone, so they are kept with them.
    """
    blocks = range(0, len(thumbnails), _BLOCK)
    found = [_least_lengths(thumbnails[start : start + _BLOCK]) for start in blocks]
    return np.concatenate([np.zeros((0, SIZES), np.float32), *found])


def templates(candidates: Thumbnail) -> Templates:
    """Returns what known pictures are multiplied with, [n, 2, 91, 512], of [n, 32, 32].

    A template is the candidate's detail as a crop of the known picture would have to show it. Its
    halves are the parts that stay and that change their sign in the mirror.
    """
    wanted = normalised(detail(candidates.astype(np.float64))).astype(np.float32)
    back = _SOFTEN.T @ wanted @ _SOFTEN - _SURROUND_SOFT.T @ wanted @ _SURROUND_SOFT
    found = np.empty((len(back), 2, _FIRST_OF_SIZE[-1], SIDE, _HALF), np.float32)
    for size, (rows, *halves) in enumerate(_BACK_SPANS):
        count, laid = len(rows) // SIDE, rows @ back
        crops = slice(_FIRST_OF_SIZE[size], _FIRST_OF_SIZE[size + 1])
        for half, columns in enumerate(halves):
            spread = (laid @ columns.T).reshape(len(back), count, SIDE, count, _HALF)
            found[:, half, crops] = spread.swapaxes(2, 3).reshape(-1, count**2, SIDE, _HALF)
    return found.reshape(len(back), 2, _FIRST_OF_SIZE[-1], SIDE * _HALF)


def most_alike(template: Templates, known: Thumbnail, lengths: Lengths) -> NDArray[np.float32]:
    """Returns upper bounds [k] of the likeness of a candidate and known pictures [k, 32, 32].

    `template` [2, 91, 512] is one of `templates`, `lengths` [k, 6] are the `least_lengths`. The
    bounds hold up to rounding, 1e-5.
    """
    pixels = known.astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    same, turned = template @ _halves(pixels).swapaxes(1, 2)  # [91, k] each
    # The mirror image of a crop is a crop of the mirror image: no more products are needed.
    best = np.abs(turned) + same
    by_size = np.maximum.reduceat(best, _FIRST_OF_SIZE[:-1], axis=0)
    return np.asarray((by_size / np.sqrt(lengths.T**2 + 1)).max(axis=0))


def _least_lengths(thumbnails: Thumbnail) -> Lengths:
    pixels = thumbnails.astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    least = np.empty((len(pixels), SIZES), np.float32)
    for size, (soft, smooth) in enumerate(_DETAIL_SPANS):
        count = len(soft) // _KEPT
        crops = soft @ pixels @ soft.T - smooth @ pixels @ smooth.T
        crops = crops.reshape(-1, count, _KEPT, count, _KEPT)
        crops[:, :, 0, :, 0] = 0  # the mean, which likeness subtracts
        least[:, size] = np.einsum("nrfcg,nrfcg->nrc", crops, crops).min(axis=(1, 2))
    return np.sqrt(least)


def _halves(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns sums and differences of the left and the mirrored right half, [2, ..., 512]."""
    left, right = pictures[..., :_HALF], pictures[..., : _HALF - 1 : -1]
    both = np.stack([left + right, left - right])
    return both.reshape(*both.shape[:-2], SIDE * _HALF)


_SOFTEN = SOFTEN.astype(np.float32)
_SURROUND_SOFT = (SURROUND @ SOFTEN).astype(np.float32)
# What lays a candidate's detail back: along the rows, and along the columns as halves.
_BACK_SPANS = [
    [
        np.concatenate(parts).astype(np.float32)
        for parts in (
            [span.T for span in spans],
            [(span.T[:_HALF] + span.T[: _HALF - 1 : -1]) / 2 for span in spans],
            [(span.T[:_HALF] - span.T[: _HALF - 1 : -1]) / 2 for span in spans],
        )
    ]
    for spans in CROP_SPANS
]
_DETAIL_SPANS = [
    tuple(
        np.concatenate([dct(_KEPT) @ change @ span for span in spans]).astype(np.float32)
        for change in (SOFTEN, SURROUND @ SOFTEN)
    )
    for spans in CROP_SPANS
]
_FIRST_OF_SIZE = np.cumsum([0] + [len(spans) ** 2 for spans in CROP_SPANS])
