"""Fingerprints: equal pixels, and pixels that look alike."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 32


def pixel_sha256(image: Image.Image) -> str:
    """Returns the SHA-256 of size and RGB pixels, in hexadecimal; metadata does not count."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """Returns a 64-bit hash of the lowest frequencies (pHash): alike images differ in few bits."""
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float64)
    low = (_DCT @ pixels @ _DCT.T)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(first: int, second: int) -> int:
    """Returns the number of bits in which two hashes differ, 0 to 64."""
    return (first ^ second).bit_count()


def _dct_matrix(size: int) -> NDArray[np.float64]:
    """Returns the orthonormal DCT-II matrix [size, size]."""
    index = np.arange(size)
    matrix = np.cos(np.pi * (2 * index[None, :] + 1) * index[:, None] / (2 * size))
    matrix *= np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)


_DCT = _dct_matrix(_SIDE)
