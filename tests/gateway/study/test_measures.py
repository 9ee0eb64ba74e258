"""Distances, precision and recall of images, against values that are known or worked out apart."""

import numpy as np
import pytest

from gateway.study import measures
from gateway.study.measures import (
    frechet_distance,
    kernel_distance,
    nearest_parent_distance,
    precision_and_recall,
)


def units(count, dimensions=6, seed=0, shift=0.0):
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions))
    vectors[:, 0] += shift
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_frechet_distance_is_that_of_the_general_matrix_root():
    made, real = units(60, seed=1, shift=1.0), units(80, seed=2)
    a, b = np.cov(made.astype(float).T), np.cov(real.astype(float).T)
    # The trace of a root is the sum of the roots of the eigenvalues, also of a lopsided product.
    cross = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).sum().real
    shift = ((made.astype(float).mean(0) - real.astype(float).mean(0)) ** 2).sum()
    wanted = shift + np.trace(a) + np.trace(b) - 2 * cross
    assert frechet_distance(made, real) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_gaussians_on_a_line_is_known():
    # (mean difference)^2 + (difference of the deviations)^2.
    made, real = np.float32([[1], [3], [5]]), np.float32([[0], [1], [2]])
    assert frechet_distance(made, real) == pytest.approx(2**2 + (2 - 1) ** 2)


def test_a_frechet_distance_of_no_more_images_than_dimensions_is_refused():
    assert frechet_distance(units(6), units(90)) is None
    assert frechet_distance(units(90), units(6)) is None
    assert frechet_distance(units(7), units(90)) is not None


def plain_kernel_distance(made, real):
    """By its definition, a pair at a time."""

    def k(x, y):
        return (float(x.astype(float) @ y.astype(float)) + 1) ** 3

    def within(points):
        pairs = [(i, j) for i in range(len(points)) for j in range(len(points)) if i != j]
        return np.mean([k(points[i], points[j]) for i, j in pairs])

    return within(made) + within(real) - 2 * np.mean([k(x, y) for x in made for y in real])


def test_the_kernel_distance_and_its_error_are_those_of_their_definitions(monkeypatch):
    monkeypatch.setattr(measures, "_BLOCK", 4)
    made, real = units(9, seed=3, shift=0.5), units(7, seed=4)
    found = kernel_distance(made, real)
    assert found.distance == pytest.approx(plain_kernel_distance(made, real), rel=1e-5)
    variance = 0.0
    for without in (
        [plain_kernel_distance(np.delete(made, i, 0), real) for i in range(9)],
        [plain_kernel_distance(made, np.delete(real, i, 0)) for i in range(7)],
    ):
        variance += (len(without) - 1) * np.var(without)
    assert found.standard_error == pytest.approx(variance**0.5, rel=1e-4)
    assert kernel_distance(made[:2], real) is None


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average():
    found = [kernel_distance(units(20, seed=i), units(30, seed=99 + i)).distance for i in range(60)]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 4 * np.std(found) / 60**0.5


@pytest.mark.parametrize("block", [3, 512])
def test_precision_and_recall_are_shares_within_the_third_neighbours(monkeypatch, block):
    monkeypatch.setattr(measures, "_BLOCK", block)
    made, real = units(25, 3, seed=5, shift=1.5), units(30, 3, seed=6)

    def covered(points, centres):
        radii = [np.sort(np.linalg.norm(centres - one, axis=1))[3] for one in centres]
        return np.mean([(np.linalg.norm(centres - one, axis=1) <= radii).any() for one in points])

    precision, recall = precision_and_recall(made, real)
    assert precision == pytest.approx(covered(made, real))
    assert recall == pytest.approx(covered(real, made))
    assert precision_and_recall(made[:3], real) is None


def test_images_of_one_kind_are_precise_and_recall_little():
    made = units(40, seed=8)[:1] + 0.01 * units(40, seed=9)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    precision, recall = precision_and_recall(made, np.concatenate([units(60, seed=10), made[:5]]))
    assert precision > 0.9 and recall < 0.2


def test_the_distance_to_the_nearest_parent_is_zero_for_a_copy():
    parents = units(3, seed=11)
    assert nearest_parent_distance(parents[1], parents) == pytest.approx(0, abs=1e-6)
    assert nearest_parent_distance(np.float32([1, 0]), np.float32([[0, 1]])) == 1
