"""The index of hashes answers what a scan answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging import near
from imaging.multi_index import MultiIndex, scan
from imaging.near import NearIndex


def clusters(seed: int, count: int) -> np.ndarray:
    """Random hashes, each third a few bits away from another one."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for row in range(0, count, 3):
        other = int(rng.integers(count))
        flips = rng.choice(64, int(rng.integers(0, 14)), replace=False)
        hashes[row] = hashes[other] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    return hashes


def same(first, second) -> bool:
    names = ("queries", "positions", "distances")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 4000), distance=st.integers(0, 64))
def test_every_distance_gives_what_a_scan_gives(seed: int, count: int, distance: int):
    hashes = clusters(seed, count)
    queries = np.concatenate([hashes[:5], clusters(seed + 1, 4)])
    assert same(
        MultiIndex.build(hashes).find_all(queries, distance), scan(hashes, queries, distance)
    )


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 7, 10])
@pytest.mark.parametrize("many", [10**9, 0])
@pytest.mark.parametrize("compiled", [10**9, 0])
def test_both_cuts_of_a_hash_find_everything_in_a_large_set(
    distance: int, many: int, compiled: int, monkeypatch
):
    monkeypatch.setattr("imaging.multi_index._MANY", many)
    monkeypatch.setattr("imaging.multi_index._COMPILED", compiled)
    hashes = clusters(distance, 200_000)
    index = MultiIndex.build(hashes)
    assert index._cost([1] * len(index._tables)) < len(hashes)  # so that nothing is scanned
    queries = hashes[::5000]
    found = index.find_all(queries, distance)
    assert same(found, scan(hashes, queries, distance)) and len(found.queries) >= len(queries)


def test_the_compiled_look_up_has_room_for_more_than_it_expects(monkeypatch):
    monkeypatch.setattr("imaging.multi_index._COMPILED", 0)
    hashes = np.concatenate([np.full(3000, 77, np.uint64), clusters(1, 100_000)])
    index = MultiIndex.build(hashes)
    assert same(index.find_all(hashes[:3], 4), scan(hashes, hashes[:3], 4))


def test_an_index_is_used_in_place_from_the_arrays_that_it_gave():
    hashes = clusters(1, 50_000)
    index = MultiIndex.build(hashes)
    again = MultiIndex.of_arrays(index.arrays())
    assert same(again.find_all(hashes[:50], 8), index.find_all(hashes[:50], 8))
    assert all(again.arrays()[name] is array for name, array in index.arrays().items())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 700), distance=st.integers(0, 12))
def test_a_growing_index_finds_what_was_added_so_far(seed: int, count: int, distance: int):
    before, near._SCANNED = near._SCANNED, 32
    try:
        hashes, index = clusters(seed, count), NearIndex()
        for row, value in enumerate(hashes):
            if row % 50 == 0:
                expected = scan(hashes[:row], hashes[row : row + 1], distance).positions
                assert index.find(int(value), distance).tolist() == expected.tolist()
            assert index.add(int(value)) == row
        together = NearIndex()
        for first in range(0, count, 45):
            together.add_all(hashes[first : first + 45])
        assert len(index) == len(together) == count
        assert same(index.find_all(hashes[:9], 12), together.find_all(hashes[:9], 12))
        assert same(index.find_all(hashes[:9], distance), scan(hashes, hashes[:9], distance))
    finally:
        near._SCANNED = before


def test_nothing_is_near_in_an_empty_index():
    assert NearIndex().find(2**64 - 1, 64).tolist() == []
