"""The contract of every kind of vector index; a new kind is one more entry of the fixture."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retriever.index import IndexKind, IndexKinds, VectorIndex
from retriever.index.base import Floats
from retriever.index.flat import FlatKind
from retriever.index.ivf_pq import IvfPqKind
from retriever.index.milvus import MilvusKind, MilvusServer
from servicekit.errors import Precondition
from tests.retriever.milvus import MilvusLite

Make = Callable[[Floats], VectorIndex]
KINDS = ("Flat", "IVF-PQ", "Milvus", "Milvus HNSW")


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = MilvusLite(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server.uri
    server.kill()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.servers if name.startswith("Milvus") else ())
        for name in KINDS
    ],
)
def kind(request: pytest.FixtureRequest) -> IndexKind:
    if request.param.startswith("Milvus"):
        server = MilvusServer(request.getfixturevalue("milvus"))
        return MilvusKind(server, 0 if request.param.endswith("HNSW") else 50_000)
    return FlatKind() if request.param == "Flat" else IvfPqKind()


@pytest.fixture
def make(kind: IndexKind) -> Make:
    return lambda vectors: kind.open("test", vectors, kind.build("test", vectors))


def unit_vectors(count: int, dimension: int = 16, seed: int = 0) -> Floats:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_a_vector_finds_itself_first_and_the_rest_in_falling_order(make: Make):
    vectors = unit_vectors(1000)
    found = make(vectors).search(vectors[:20], 10)
    assert found.rows.shape == found.similarities.shape == (20, 10)
    assert found.rows[:, 0].tolist() == list(range(20))
    assert found.similarities[:, 0] == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(found.similarities, axis=1) <= 0).all()


def test_similarities_are_cosines_of_the_rows_that_are_named(make: Make):
    vectors, queries = unit_vectors(1000), unit_vectors(7, seed=1)
    found = make(vectors).search(queries, 20)
    expected = np.einsum("qd,qkd->qk", queries, vectors[found.rows])
    np.testing.assert_allclose(found.similarities, expected, atol=1e-5)


def test_asking_for_more_than_the_pool_answers_the_whole_pool(make: Make):
    found = make(unit_vectors(400)).search(unit_vectors(3, seed=2), 10_000)
    assert found.rows.shape == (3, 400)
    assert all(sorted(row) == list(range(400)) for row in found.rows.tolist())


def test_ties_are_in_order_of_rows_even_across_the_cut_off(make: Make):
    vectors = np.zeros((60, 16), np.float32)
    vectors[:, 0] = 1.0
    assert make(vectors).search(vectors[:1], 5).rows.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.8, 1.0])
def test_only_allowed_rows_are_found_and_the_nearest_of_them(make: Make, share: float):
    vectors, queries = unit_vectors(2000), unit_vectors(4, seed=4)
    allowed = np.sort(np.random.default_rng(7).choice(2000, round(2000 * share), replace=False))
    found = make(vectors).search(queries, 12, allowed)
    assert found.rows.shape == (4, 12)
    assert set(found.rows.ravel().tolist()) <= set(allowed.tolist())
    best = np.sort(queries @ vectors[allowed].T, axis=1)[:, ::-1][:, :12]
    assert np.isclose(found.similarities, best, atol=1e-5).mean() > 0.9


def test_asking_for_more_than_is_allowed_answers_all_that_is(make: Make):
    allowed = np.arange(3, 400, 7)
    found = make(unit_vectors(400)).search(unit_vectors(2, seed=5), 300, allowed)
    assert [sorted(row) for row in found.rows.tolist()] == [allowed.tolist()] * 2


def test_nothing_allowed_is_nothing_found(make: Make):
    found = make(unit_vectors(50)).search(unit_vectors(2, seed=5), 10, np.zeros(0, np.int64))
    assert found.rows.shape == found.similarities.shape == (2, 0)


def test_what_is_prepared_is_opened_again_and_searched_alike(kind: IndexKind):
    vectors, queries = unit_vectors(1000), unit_vectors(5, seed=3)
    prepared = kind.build("again", vectors)
    first, second = (kind.open("again", vectors, prepared) for _ in range(2))
    assert (second.count, second.dimension) == (1000, 16)
    np.testing.assert_array_equal(first.search(queries, 9).rows, second.search(queries, 9).rows)


def test_equal_vectors_give_equal_bytes_and_replace_what_was_there(kind: IndexKind):
    vectors = unit_vectors(800)
    prepared = kind.build("equal", vectors)
    assert kind.build("equal", vectors.copy()) == prepared
    assert kind.open("equal", vectors, prepared).count == 800


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(1, 120), asked=st.integers(1, 150), seed=st.integers(0, 9))
def test_any_size_of_pool_gives_as_many_distinct_rows_as_it_can(
    make: Make, count: int, asked: int, seed: int
):
    found = make(unit_vectors(count, seed=seed)).search(unit_vectors(2, seed=99), asked)
    assert found.rows.shape == (2, min(count, asked))
    assert all(len(set(row)) == len(row) and min(row) >= 0 for row in found.rows.tolist())


def test_the_kind_finds_nearly_all_that_exact_search_finds(make: Make):
    centres = unit_vectors(40, dimension=32)
    rows = np.random.default_rng(5).integers(0, 40, 8000)
    vectors = centres[rows] + 0.6 * unit_vectors(8000, dimension=32, seed=6)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = np.argsort(-vectors[:50] @ vectors.T, axis=1)[:, :20]
    near = make(vectors).search(vectors[:50], 20).rows
    recall = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(exact, near, strict=True)])
    assert recall > 0.97


def test_the_size_of_the_pool_and_the_engine_choose_the_kind():
    kinds = IndexKinds("faiss", flat_limit=50_000)
    assert kinds.for_count(50_000).name == "Flat"
    assert kinds.for_count(50_001).name == "IVF-PQ"
    assert IndexKinds("milvus", flat_limit=1, milvus_uri="http://x").for_count(9).name == "Milvus"


def test_settings_that_make_no_sense_are_refused_by_name():
    for engine, uri, said in (
        ("lucene", "", "faiss or milvus"),
        ("milvus", "", "RETRIEVER_MILVUS"),
    ):
        with pytest.raises(Precondition, match=said):
            IndexKinds(engine, flat_limit=1, milvus_uri=uri)


def test_an_index_of_a_kind_that_is_not_here_is_refused_with_the_remedy():
    with pytest.raises(Precondition, match=r"indexes/web is of the kind Milvus.*RETRIEVER_MILVUS"):
        IndexKinds("faiss", flat_limit=1).named("Milvus", "indexes/web")
