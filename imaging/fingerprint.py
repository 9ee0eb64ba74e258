"""Fingerprints that find an image again after small crops, mirroring and changes of its pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.hashing import pixel_sha256

# Raise it when a fingerprint of the same image would change: stored ones are then made again.
VERSION = 3
SIDE = 32
# Hashes of a picture: of the whole, and of 9 crops each at two sizes.
HASHES = 19
# Pixels of the thumbnail that a crop may have lost, along each side: 1/16 and 1/8.
_LOST = (2, 4)
_KEPT_FREQUENCIES = 8

Thumbnail = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image for telling copies.

    `thumbnail` is grey, uint8 [32, 32]. `hashes`, uint64 [19], are perceptual hashes of the
    whole image, which comes first, and of 9 crops each at 15/16 and 7/8 of its sides.
    """

    pixel_sha256: str
    hashes: Hashes
    thumbnail: Thumbnail


def fingerprint(image: Image.Image) -> Fingerprint:
    """Returns the fingerprint of an RGB image."""
    grey = thumbnail_of(image)
    return Fingerprint(pixel_sha256(image), crop_hashes(grey), grey)


def thumbnail_of(image: Image.Image) -> Thumbnail:
    """Returns the grey thumbnail, uint8 [32, 32], that perceptual hashes are made of."""
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8)


def crop_hashes(thumbnail: Thumbnail) -> Hashes:
    """Returns the hashes of the thumbnail and of its crops, uint64 [19]."""
    pixels = thumbnail.astype(np.float64)
    # One product gives the low frequencies of every crop: [7 * 8, 32] x [32, 32] x [32, 7 * 8].
    spans = len(_SPANS)
    low = (_CROP_DCT @ pixels @ _CROP_DCT.T).reshape(
        spans, _KEPT_FREQUENCIES, spans, _KEPT_FREQUENCIES
    )
    return _packed(low[_CROP_ROWS, :, _CROP_COLUMNS, :])


def both_hashes(thumbnails: Thumbnail) -> Hashes:
    """Returns the hashes of pictures [n, 32, 32] and of their mirror images, uint64 [n, 2]."""
    pixels = np.stack([thumbnails, thumbnails[:, :, ::-1]], axis=1).astype(np.float64)
    return _packed((_DCT @ pixels @ _DCT.T).reshape(-1, *_DCT.shape[:1] * 2)).reshape(-1, 2)


def _packed(low: NDArray[np.float64]) -> Hashes:
    """Returns hashes [n] of low frequencies [n, 8, 8]: which lie above their median."""
    flat = low.reshape(len(low), -1)
    bits = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    packed = np.ascontiguousarray(np.packbits(bits[:, _BITS], axis=1))
    return packed.view(">u8")[:, 0].astype(np.uint64)


def resampling(start: float, length: float) -> NDArray[np.float64]:
    """Returns the matrix [32, 32] that stretches `length` pixels from `start` over all 32."""
    centres = start + (np.arange(SIDE) + 0.5) * length / SIDE - 0.5
    centres = centres.clip(0, SIDE - 1)
    left = np.floor(centres).astype(int).clip(0, SIDE - 2)
    share = centres - left
    matrix = np.zeros((SIDE, SIDE))
    matrix[np.arange(SIDE), left] = 1 - share
    matrix[np.arange(SIDE), left + 1] += share
    return matrix


def dct(count: int) -> NDArray[np.float64]:
    """Returns the lowest rows of the orthonormal DCT-II matrix, [count, 32]."""
    index = np.arange(SIDE)
    rows = np.cos(np.pi * (2 * index + 1) * index[:count, None] / (2 * SIDE))
    rows *= np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)


# Spans of one axis: all of it, then start, middle and end for each length; a crop has two of
# equal length.
_SPANS = [(0.0, SIDE)] + [(lost * at / 2, SIDE - lost) for lost in _LOST for at in (0, 1, 2)]
_PAIRS = [(0, 0)] + [
    (first + row, first + column) for first in (1, 4) for row in range(3) for column in range(3)
]
_CROP_ROWS, _CROP_COLUMNS = (np.array(axis) for axis in zip(*_PAIRS, strict=True))
_DCT = dct(_KEPT_FREQUENCIES)
_CROP_DCT = np.concatenate([_DCT @ resampling(start, length) for start, length in _SPANS])
# The order of the bits, highest first: neighbouring frequencies go to different thirds of a hash,
# so that the chunks by which an index finds it say as much as they can (multi_index.py).
_DIAGONALS = sorted(range(_KEPT_FREQUENCIES**2), key=lambda place: (sum(divmod(place, 8)), -place))
_BITS = np.array([place for third in range(3) for place in _DIAGONALS[third::3]])[::-1]
