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
    crops = _ROWS @ protected.astype(np.float64) @ _COLUMNS  # [91, 32, 32]
    smooth = _normalised(_SOFTEN @ crops @ _SOFTEN.T)
    best, found = -2.0, (crops[0], crops[0])
    for view in (candidate, candidate[:, ::-1]):
        pixels = view.astype(np.float64)
        fits = (smooth * _normalised(_SOFTEN @ pixels @ _SOFTEN.T)).sum(axis=(1, 2))
        if fits.max() > best:
            best, found = float(fits.max()), (crops[int(fits.argmax())], pixels)
    first, second = (_normalised(_detail(pixels)) for pixels in found)
    return float((first * second).sum())


def _detail(pixels: Pixels) -> Pixels:
    soft = _SOFTEN @ pixels @ _SOFTEN.T
    return np.asarray(soft - _SURROUND @ soft @ _SURROUND.T)


def _normalised(pixels: Pixels) -> Pixels:
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


_SOFTEN = _average([0.25, 0.5, 0.25])
_SURROUND = _average([1 / (2 * _REACH + 1)] * (2 * _REACH + 1))
_GRID = [
    (resampling(top, SIDE - lost), resampling(left, SIDE - lost).T)
    for lost in range(_MOST_LOST + 1)
    for top in range(lost + 1)
    for left in range(lost + 1)
]
_ROWS = np.stack([rows for rows, _ in _GRID])
_COLUMNS = np.stack([columns for _, columns in _GRID])
