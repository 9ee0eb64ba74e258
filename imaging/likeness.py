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
    smooth = _softened_crops(pixels - pixels.mean()).reshape(len(_ROWS), -1)  # [91, 1024]
    squares = np.einsum("ij,ij->i", smooth, smooth)
    lengths = np.sqrt(squares - SIDE**2 * smooth.mean(axis=1) ** 2 + 1.0)
    views = np.stack([candidate, candidate[:, ::-1]]).astype(np.float64)
    # The views have the mean 0, so that of the crops does not matter.
    fits = normalised(SOFTEN @ views @ SOFTEN.T).reshape(2, -1) @ smooth.T / lengths
    view, crop = divmod(int(fits.argmax()), len(_ROWS))
    found = (_ROWS[crop] @ pixels @ _COLUMNS[crop], views[view])
    first, second = (normalised(detail(pixels)) for pixels in found)
    return float((first * second).sum())


def _softened_crops(pixels: Pixels) -> Pixels:
    """Returns every crop, stretched and softened, [91, 32, 32] in the order of the grid.

    Crops of one size share their rows and columns, so two products make all of them.
    """
    found = []
    for spans in _SOFT_SPANS:
        count = len(spans) // SIDE
        crops = (spans @ pixels @ spans.T).reshape(count, SIDE, count, SIDE)
        found.append(crops.transpose(0, 2, 1, 3).reshape(-1, SIDE, SIDE))
    return np.concatenate(found)


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
_ROWS = np.stack([rows for spans in CROP_SPANS for rows in spans for _ in spans])
_COLUMNS = np.stack([columns.T for spans in CROP_SPANS for _ in spans for columns in spans])
_SOFT_SPANS = [np.concatenate([SOFTEN @ span for span in spans]) for spans in CROP_SPANS]
