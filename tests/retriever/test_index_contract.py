"""The contract of every kind of vector index; a new kind is one more entry of KINDS."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.index import KINDS, VectorIndex, kind_for
from retriever.index.base import Floats

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def unit_vectors(count: int, dimension: int = 16, seed: int = 0) -> Floats:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@every_kind
def test_a_vector_finds_itself_first_and_the_rest_in_falling_order(kind: type[VectorIndex]):
    vectors = unit_vectors(500)
    found = kind.build(vectors).search(vectors[:20], 10)
    assert found.rows.shape == found.similarities.shape == (20, 10)
    assert found.rows[:, 0].tolist() == list(range(20))
    assert found.similarities[:, 0] == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(found.similarities, axis=1) <= 0).all()


@every_kind
def test_similarities_are_cosines_of_the_rows_that_are_named(kind: type[VectorIndex]):
    vectors, queries = unit_vectors(300), unit_vectors(7, seed=1)
    found = kind.build(vectors).search(queries, 20)
    expected = np.einsum("qd,qkd->qk", queries, vectors[found.rows])
    np.testing.assert_allclose(found.similarities, expected, atol=1e-5)


@every_kind
def test_asking_for_more_than_the_pool_answers_the_whole_pool(kind: type[VectorIndex]):
    vectors = unit_vectors(400)
    found = kind.build(vectors).search(unit_vectors(3, seed=2), 10_000)
    assert found.rows.shape == (3, 400)
    assert all(sorted(row) == list(range(400)) for row in found.rows.tolist())


@every_kind
def test_ties_are_in_order_of_rows_even_across_the_cut_off(kind: type[VectorIndex]):
    vectors = np.zeros((60, 16), np.float32)
    vectors[:, 0] = 1.0
    found = kind.build(vectors).search(vectors[:1], 5)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]]


@every_kind
def test_what_is_saved_is_loaded_again(kind: type[VectorIndex]):
    vectors, queries = unit_vectors(300), unit_vectors(5, seed=3)
    built = kind.build(vectors)
    loaded = kind.load(built.save())
    assert (loaded.count, loaded.dimension) == (built.count, built.dimension) == (300, 16)
    np.testing.assert_array_equal(loaded.search(queries, 9).rows, built.search(queries, 9).rows)


@every_kind
def test_equal_vectors_give_equal_bytes(kind: type[VectorIndex]):
    vectors = unit_vectors(800)
    assert kind.build(vectors).save() == kind.build(vectors.copy()).save()


@every_kind
@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 120), asked=st.integers(1, 150), seed=st.integers(0, 9))
def test_any_size_of_pool_gives_as_many_distinct_rows_as_it_can(
    kind: type[VectorIndex], count: int, asked: int, seed: int
):
    found = kind.build(unit_vectors(count, seed=seed)).search(unit_vectors(2, seed=99), asked)
    assert found.rows.shape == (2, min(count, asked))
    assert all(len(set(row)) == len(row) and min(row) >= 0 for row in found.rows.tolist())


def test_the_approximate_kind_finds_most_of_what_the_exact_kind_finds():
    centres = unit_vectors(40, dimension=32)
    rows = np.random.default_rng(5).integers(0, 40, 4000)
    vectors = centres[rows] + 0.6 * unit_vectors(4000, dimension=32, seed=6)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = KINDS["Flat"].build(vectors).search(vectors[:100], 10).rows
    near = KINDS["IVF-Flat"].build(vectors).search(vectors[:100], 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, near, strict=True)])
    assert recall > 0.9


def test_the_size_of_the_pool_chooses_the_kind():
    assert kind_for(50_000, 50_000).kind == "Flat"
    assert kind_for(50_001, 50_000).kind == "IVF-Flat"
