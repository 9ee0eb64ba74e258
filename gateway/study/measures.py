"""How far made images are from real ones, and how varied they are, from CLIP's vectors.

All vectors are rows of unit length, [n, d]. No more than blocks of the matrix of all pairs is held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

# The neighbour whose distance is the radius of an image's neighbourhood: the paper's.
NEIGHBOUR = 3
_BLOCK = 512  # Rows of the matrix of all pairs that are held.


@dataclass(frozen=True)
class Kernel:
    """Squared maximum mean discrepancy, and its standard error by the delete-one jackknife."""

    distance: float
    standard_error: float


def frechet_distance(made: Array, real: Array) -> float | None:
    """Returns the squared Frechet distance of the two sets, taken for Gaussians (Heusel et al.
    2017, section 4), 0 or more.

    None if either has no more vectors than dimensions: its covariance then has no full rank, and
    the distance says more of the number of images than of them.
    """
    if min(len(made), len(real)) <= made.shape[1]:
        return None
    (mean, cov), (other_mean, other_cov) = _moments(made), _moments(real)
    root = _root(cov)
    # The trace of the root of cov @ other_cov, by a symmetric matrix with the same eigenvalues.
    values = np.linalg.eigvalsh(root @ other_cov @ root)
    cross = float(np.sqrt(values.clip(min=0)).sum())
    shift = float(np.square(mean - other_mean).sum())
    return max(0.0, shift + float(np.trace(cov) + np.trace(other_cov)) - 2 * cross)


def kernel_distance(made: Array, real: Array) -> Kernel | None:
    """Returns the unbiased estimate of the kernel distance (Binkowski et al. 2018), which may be
    below 0, with the kernel (1 + cosine)^3.

    That is the paper's (x.y / d + 1)^3 for vectors of length sqrt(d). None below 3
    images of either.
    """
    n, m = len(made), len(real)
    if min(n, m) < 3:
        return None
    within, other = _kernel_sums(made, made) - 8.0, _kernel_sums(real, real) - 8.0  # k(x, x) = 8
    across, back = _kernel_sums(made, real), _kernel_sums(real, made)
    a, b, c = float(within.sum()), float(other.sum()), float(across.sum())

    def value(a: Floats | float, n: int, b: Floats | float, m: int, c: Floats | float) -> Floats:
        return np.asarray(a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * c / (n * m))

    without_made = value(a - 2 * within, n - 1, b, m, c - across)
    without_real = value(a, n, b - 2 * other, m - 1, c - back)
    variance = sum(
        (len(one) - 1) / len(one) * float(np.square(one - one.mean()).sum())
        for one in (without_made, without_real)
    )
    return Kernel(float(value(a, n, b, m, c)), variance**0.5)


def precision_and_recall(made: Array, real: Array) -> tuple[float, float] | None:
    """Returns the improved precision and recall (Kynkaanniemi et al. 2019, section 2), 0 to 1.

    Precision is the share of made images within the neighbourhood of a real one, recall that of
    real ones within the neighbourhood of a made one. None below NEIGHBOUR + 1 images of either.
    """
    if min(len(made), len(real)) <= NEIGHBOUR:
        return None
    return _covered(made, real), _covered(real, made)


def nearest_parent_distance(made: Array, parents: Array) -> float:
    """Returns the smallest cosine distance, 0 to 2, of a vector [d] to those of its parents."""
    return float(1 - (parents @ made).max())


def _moments(vectors: Array) -> tuple[Floats, Floats]:
    exact = vectors.astype(np.float64)
    return exact.mean(axis=0), np.atleast_2d(np.cov(exact, rowvar=False))


def _root(matrix: Floats) -> Floats:
    values, columns = np.linalg.eigh(matrix)
    return np.asarray((columns * np.sqrt(values.clip(min=0))) @ columns.T)


def _cosines(rows: Array, columns: Array) -> Iterator[Floats]:
    """Yields blocks of rows of the cosines of all pairs."""
    exact = columns.astype(np.float64).T
    for first in range(0, len(rows), _BLOCK):
        yield rows[first : first + _BLOCK].astype(np.float64) @ exact


def _kernel_sums(rows: Array, columns: Array) -> Floats:
    """Returns the sum of the kernel over the columns for each row."""
    return np.concatenate([((1 + one) ** 3).sum(axis=1) for one in _cosines(rows, columns)])


def _covered(points: Array, centres: Array) -> float:
    """Returns the share of points that are within the neighbourhood of a centre."""
    # A centre's own cosine is the largest; the next is that of its first neighbour.
    at = -1 - NEIGHBOUR
    radii = np.concatenate(
        [np.partition(one, at, axis=1)[:, at] for one in _cosines(centres, centres)]
    )
    within = sum(int((one >= radii).any(axis=1).sum()) for one in _cosines(points, centres))
    return within / len(points)
