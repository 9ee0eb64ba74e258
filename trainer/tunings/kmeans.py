"""k-means: Lloyd's iterations from the seeds of k-means++ (Arthur and Vassilvitskii 2007)."""

import numpy as np
from numpy.typing import NDArray

_TRIES, _ITERATIONS = 10, 300

Points = NDArray[np.float64]


def kmeans(points: Points, count: int, seed: int) -> Points:
    """Returns the centres [count, d] of points [n, d], at least `count` of which are different.

    The best of ten tries, none of whose clusters is empty.
    """
    tries = (_lloyd(points, _spread(points, count, _draws(seed, one))) for one in range(_TRIES))
    return min(tries, key=lambda centres: inertia(points, centres))


def nearest(points: Points, centres: Points) -> NDArray[np.int64]:
    """Returns the centre that is nearest to each point [n]; the first of several."""
    return _distances(points, centres).argmin(1)


def inertia(points: Points, centres: Points) -> float:
    """Returns the sum of the squared distances to the nearest centres."""
    return float(_distances(points, centres).min(1).sum())


def _draws(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def _spread(points: Points, count: int, draws: np.random.Generator) -> Points:
    """Points as first centres, each drawn by its squared distance from those before."""
    rows = [int(draws.integers(len(points)))]
    while len(rows) < count:
        distances = _distances(points, points[rows]).min(1)
        rows.append(int(draws.choice(len(points), p=distances / distances.sum())))
    return points[rows]


def _lloyd(points: Points, centres: Points) -> Points:
    for _ in range(_ITERATIONS):
        labels = nearest(points, centres)
        for empty in set(range(len(centres))) - set(labels.tolist()):
            # The point that is farthest from its centre has one of its own.
            far = int(_distances(points, centres)[np.arange(len(points)), labels].argmax())
            labels[far] = empty
        moved = np.stack([points[labels == one].mean(0) for one in range(len(centres))])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _distances(points: Points, centres: Points) -> Points:
    """The squared distances [n, k]; those of equal points are zero to the bit."""
    return np.stack([np.square(points - centre).sum(1) for centre in centres], axis=1)
