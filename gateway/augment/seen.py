"""Copies among an augmentation's own images: the first in the plan's order stays."""

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gateway.augment.outcomes import Outcome
from imaging.near import NearIndex

# Perceptual hashes (64 bits) of one class this close are taken for one picture; ours.
NEAR_BITS = 2
# Bytes of an item's id, and of a digest of pixels, that are remembered.
_ID, _PIXELS = 16, 16


class Seen:
    """Remembers accepted pictures. A look costs the same however many there are, or nearly so.

    A picture takes some 50 bytes, and 64 more where a class has many thousands: no objects.
    """

    def __init__(self) -> None:
        self._pixels = _Digests()
        self._ids = bytearray()
        self._hashes: dict[str, NearIndex] = defaultdict(NearIndex)
        # Of the pictures of a class, by their position among its hashes: their position among all.
        self._places: dict[str, array[int]] = defaultdict(lambda: array("I"))

    def copy_of(self, class_name: str, outcome: Outcome) -> str:
        """Returns the id of the earlier item that this picture repeats; empty if none.

        Equal pixels count across classes, near-equal pictures within a class. A picture that
        repeats none is remembered.
        """
        position = self._pixels.find(_key(outcome.pixel_sha256))
        if position >= 0:
            return self._id(position)
        near = self._hashes[class_name].find(outcome.perceptual_hash, NEAR_BITS)
        if len(near):
            return self._id(self._places[class_name][int(near[0])])
        self._places[class_name].append(self._pixels.add(_key(outcome.pixel_sha256)))
        self._hashes[class_name].add(outcome.perceptual_hash)
        self._ids += bytes.fromhex(outcome.item_id)
        return ""

    def remember(
        self,
        class_names: NDArray[np.object_],
        item_ids: Iterable[str],
        pixel_sha256s: Iterable[str],
        hashes: NDArray[np.uint64],
    ) -> None:
        """Adds pictures that are known to repeat none, column by column; fast for thousands."""
        first = self._pixels.add_all(b"".join(map(_key, pixel_sha256s)))
        self._ids += bytes.fromhex("".join(item_ids))
        ends = np.flatnonzero(class_names[1:] != class_names[:-1]) + 1
        for start, end in itertools.pairwise([0, *ends.tolist(), len(class_names)]):
            if start < end:
                self._places[class_names[start]].extend(range(first + start, first + end))
                self._hashes[class_names[start]].add_all(hashes[start:end])

    def _id(self, position: int) -> str:
        return self._ids[_ID * position : _ID * (position + 1)].hex()


class _Digests:
    """Digests by position, in the order in which they were added: a hash table in two arrays."""

    def __init__(self) -> None:
        self._keys = bytearray()
        self._slots = array("i", [-1]) * 1024  # Positions; -1 where there is none.
        self._count = 0

    def find(self, key: bytes) -> int:
        """Returns the position of a digest; -1 if it was not added."""
        return self._slots[self._slot(key)]

    def add(self, key: bytes) -> int:
        """Adds a digest that is not there, and returns its position."""
        self._make_room(1)
        self._keys += key
        self._slots[self._slot(key)] = self._count
        self._count += 1
        return self._count - 1

    def add_all(self, keys: bytes) -> int:
        """Adds digests that are not there, one after the other; returns the first's position."""
        first, count = self._count, len(keys) // _PIXELS
        self._make_room(count)
        self._keys += keys
        self._place(first, keys)
        self._count += count
        return first

    def _slot(self, key: bytes) -> int:
        """Returns where a digest is among the slots, or where it would go."""
        keys, slots, mask = self._keys, self._slots, len(self._slots) - 1
        slot = int.from_bytes(key[:8], "big") & mask
        while (position := slots[slot]) >= 0:
            if keys[_PIXELS * position : _PIXELS * (position + 1)] == key:
                break
            slot = (slot + 1) & mask
        return slot

    def _make_room(self, count: int) -> None:
        """Sees to it that half of the slots are free once so many are added."""
        size = len(self._slots)
        while 2 * (self._count + count) > size:
            size *= 2
        if size > len(self._slots):
            self._slots = array("i", [-1]) * size
            self._place(0, bytes(self._keys))

    def _place(self, first: int, keys: bytes) -> None:
        """Puts positions from `first` on into the slots that `_slot` finds, all at a time.

        Those that meet in a free slot leave it to one of them, and try the next slot like those
        that met an older one.
        """
        slots, mask = np.frombuffer(self._slots, np.intc), len(self._slots) - 1
        heads = np.frombuffer(keys, ">u8").reshape(-1, _PIXELS // 8)[:, 0]
        at = (heads & np.uint64(mask)).astype(np.int64)
        left = np.arange(len(at))
        while len(left):
            free = left[slots[at[left]] < 0]
            slots[at[free]] = first + free
            left = left[slots[at[left]] != first + left]
            at[left] = (at[left] + 1) & mask


def _key(pixel_sha256: str) -> bytes:
    """Returns 128 bits of a SHA-256, which no two pictures share."""
    return bytes.fromhex(pixel_sha256[: 2 * _PIXELS]).ljust(_PIXELS, b"\0")
