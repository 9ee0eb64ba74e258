"""How alike two pictures are once crop and mirroring are undone."""

import numpy as np
from numpy.typing import NDArray

from imaging.fingerprint import SIDE, Thumbnail, resampling

# Chosen on 11,500 photographs, 26 million pairs (benchmarks/duplicates.py): planted copies score
# 0.91 and more, strangers 0.851 at most, and what lies between and above was one photograph twice,
# shifted, stretched or coloured otherwise.
SAME = 0.87
# Most pixels of the thumbnail that a crop may have lost along a side.
_MOST_LOST = 5
# Reach, in pixels, of the surroundings that are subtracted to leave the detail.
_REACH = 3

Pixels = NDArray[np.float64]


def likeness(candidate: Thumbnail, protected: Thumbnail) -> float:
    """Returns the correlation, -1 to 1, of the detail of two grey thumbnails [32, 32].

    Every crop of the protected one that keeps at least 27 of 32 pixels a side is laid on the
    candidate and on its mirror image; where the pictures fit best, each pixel's surroundings are
    subtracted and the rest is correlated. What all beaches and all skies share (light above, dark
    below) is in the surroundings, so it does not make two photographs alike.
    """
    pixels = protected.astype(np.float64)
    views = np.stack([candidate, candidate[:, ::-1]]).astype(np.float64)
    fits = _fits(normalised(SOFTEN @ views @ SOFTEN.T), pixels - pixels.mean())
    view, crop = divmod(int(fits.argmax()), len(_ROWS))
    found = (_SPANS[_ROWS[crop]] @ pixels @ _SPANS[_COLUMNS[crop]].T, views[view])
    first, second = (normalised(detail(pixels)) for pixels in found)
    return float((first * second).sum())


def _fits(views: Pixels, pixels: Pixels) -> NDArray[np.float32]:
    """Returns how well softened views [2, 32, 32] fit the softened crops of a picture, [2, 91].

    To 1e-6, which is enough to choose by.

    Crop (r, c) is S_r P S_c', with S_r and S_c what stretches and softens rows and columns. Its
    product with a view V is that of S_r P and V S_c, its squared length that of (S_r P)'(S_r P) and
    S_c' S_c: no crop has to be made.
    """
    views, pixels = views.astype(np.float32), pixels.astype(np.float32)
    rows = (_SOFT_SPANS.reshape(-1, SIDE) @ pixels).reshape(-1, SIDE, SIDE)  # [21, 32, 32]
    spread = (views.reshape(-1, SIDE) @ _BESIDE).reshape(2, SIDE, -1, SIDE).swapaxes(1, 2)
    products = rows.reshape(len(rows), -1) @ spread.reshape(-1, SIDE**2).T  # [21, 2 x 21]
    squares = (rows.swapaxes(1, 2) @ rows).reshape(len(rows), -1) @ _SOFT_SQUARES.T
    means = rows.sum(axis=1) @ _SOFT_MEANS.T
    lengths = np.sqrt(squares - SIDE**2 * means**2 + 1.0)
    # The views have the mean 0, so that of the crops does not matter.
    fits = products.reshape(len(rows), 2, -1) / lengths[:, None]
    return fits[_ROWS, :, _COLUMNS].T


def detail(pixels: Pixels) -> Pixels:
    """Softens pictures [..., 32, 32] and subtracts each pixel's surroundings."""
    soft = SOFTEN @ pixels @ SOFTEN.T
    return np.asarray(soft - SURROUND @ soft @ SURROUND.T)


def normalised(pixels: Pixels) -> Pixels:
    """Subtracts the mean and scales to unit length over the last two axes; flat stays 0."""
    centred = pixels - pixels.mean(axis=(-2, -1), keepdims=True)
    # One grey level of noise over the picture: below that there is nothing to compare.
    length = np.sqrt((centred**2).sum(axis=(-2, -1), keepdims=True) + 1.0)
    return np.asarray(centred / length)


def _average(weights: list[float]) -> Pixels:
    """Returns the matrix [32, 32] that averages neighbours, repeating the edge."""
    reach = len(weights) // 2
    matrix = np.zeros((SIDE, SIDE))
    for row in range(SIDE):
        for offset, weight in enumerate(weights, start=-reach):
            matrix[row, min(max(row + offset, 0), SIDE - 1)] += weight
    return matrix


SOFTEN = _average([0.25, 0.5, 0.25])
SURROUND = _average([1 / (2 * _REACH + 1)] * (2 * _REACH + 1))
# By the pixels lost, then by the start: what stretches that part of one axis over all of it.
CROP_SPANS = [
    [resampling(start, SIDE - lost) for start in range(lost + 1)] for lost in range(_MOST_LOST + 1)
]
_SPANS = np.concatenate(CROP_SPANS)  # [21, 32, 32]
_SOFT_SPANS = (SOFTEN @ _SPANS).astype(np.float32)
_SOFT_MEANS = _SOFT_SPANS.sum(axis=1) / SIDE**2
_SOFT_SQUARES = (_SOFT_SPANS.swapaxes(1, 2) @ _SOFT_SPANS).reshape(len(_SPANS), -1)
_BESIDE = np.concatenate(list(_SOFT_SPANS), axis=1)  # [32, 21 x 32]
# The spans of each of the 91 crops: both lose equally many pixels.
_LOST = np.repeat(np.arange(len(CROP_SPANS)), [len(spans) for spans in CROP_SPANS])
_ROWS, _COLUMNS = np.nonzero(_LOST[:, None] == _LOST)
