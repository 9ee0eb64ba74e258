"""The look-up of multi_index.py as machine code: numba compiles it where it is first called."""

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

# Buckets that are touched before any is compared: as many as fit the nearest caches. The processor
# waits for all of them together, not for one after the other, which halves the time.
_AHEAD = 512

Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]


def look_up(
    starts: NDArray[np.uint32],
    hashes: NDArray[np.uint64],
    positions: NDArray[np.uint32],
    chunk: tuple[int, int],
    masks: NDArray[np.int64],
    queries: NDArray[np.uint64],
    distance: int,
) -> Found:
    """Returns rows of `queries`, positions and distances of all pairs within `distance` bits.

    `hashes` and `positions` are in the order of one chunk, which begins at bit chunk[0] and has
    chunk[1] bits; those with chunk c are starts[c]:starts[c + 1]. Looked at are the chunks that
    differ from a query's by one of `masks`.
    """
    room = 256 * len(queries)
    while True:
        rows, apart = np.empty(room, np.int64), np.empty(room, np.uint8)
        found = np.empty(room, np.int64)
        count, _ = _look_up(
            starts, hashes, positions, *chunk, masks, queries, distance, rows, found, apart
        )
        if count <= room:
            return rows[:count], found[:count], apart[:count]
        room = count


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _look_up(  # type: ignore[no-untyped-def]
    starts, hashes, positions, shift, bits, masks, queries, distance, rows, found, apart
):
    """Fills `rows`, `found` and `apart` as far as they go and returns how many there are.

    The second value is of no use but to the compiler, which would leave the touching out.
    """
    count, touched = 0, uint64(0)
    first, last = np.empty(_AHEAD, np.int64), np.empty(_AHEAD, np.int64)
    for row in range(len(queries)):
        query = queries[row]
        key = np.int64((query >> uint64(shift)) & uint64((1 << bits) - 1))
        for start in range(0, len(masks), _AHEAD):
            ahead = min(_AHEAD, len(masks) - start)
            for number in range(ahead):
                chunk = key ^ masks[start + number]
                first[number], last[number] = starts[chunk], starts[chunk + 1]
            for number in range(ahead):
                touched ^= hashes[min(first[number], len(hashes) - 1)]
                touched ^= hashes[max(first[number], last[number] - 1) - 1]
            for number in range(ahead):
                for place in range(first[number], last[number]):
                    differing = _set_bits(hashes[place] ^ query)
                    if differing <= distance:
                        if count < len(rows):
                            rows[count], found[count] = row, positions[place]
                            apart[count] = differing
                        count += 1
    return count, touched


@njit(inline="always")  # type: ignore[untyped-decorator]
def _set_bits(value):  # type: ignore[no-untyped-def]
    """Counts bits; the compiler knows this form and makes one instruction of it."""
    value = value - ((value >> uint64(1)) & uint64(0x5555555555555555))
    value = (value & uint64(0x3333333333333333)) + (
        (value >> uint64(2)) & uint64(0x3333333333333333)
    )
    value = (value + (value >> uint64(4))) & uint64(0x0F0F0F0F0F0F0F0F)
    return (value * uint64(0x0101010101010101)) >> uint64(56)
