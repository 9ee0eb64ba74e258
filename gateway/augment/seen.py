"""Copies among an augmentation's own images: the first in the plan's order stays."""

from array import array
from collections import defaultdict

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
        self.remember(class_name, outcome.item_id, outcome.pixel_sha256, outcome.perceptual_hash)
        return ""

    def remember(self, class_name: str, item_id: str, pixel_sha256: str, number: int) -> None:
        """Adds a picture that is known to repeat none; `number` is its perceptual hash."""
        self._places[class_name].append(self._pixels.add(_key(pixel_sha256)))
        self._hashes[class_name].add(number)
        self._ids += bytes.fromhex(item_id)

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
        if 2 * self._count >= len(self._slots):
            self._grow()
        self._keys += key
        self._slots[self._slot(key)] = self._count
        self._count += 1
        return self._count - 1

    def _slot(self, key: bytes) -> int:
        """Returns where a digest is among the slots, or where it would go."""
        keys, slots, mask = self._keys, self._slots, len(self._slots) - 1
        slot = int.from_bytes(key[:8], "big") & mask
        while (position := slots[slot]) >= 0:
            if keys[_PIXELS * position : _PIXELS * (position + 1)] == key:
                break
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        self._slots = array("i", [-1]) * (2 * len(self._slots))
        for position in range(self._count):
            key = bytes(self._keys[_PIXELS * position : _PIXELS * (position + 1)])
            self._slots[self._slot(key)] = position


def _key(pixel_sha256: str) -> bytes:
    """Returns 128 bits of a SHA-256, which no two pictures share."""
    return bytes.fromhex(pixel_sha256[: 2 * _PIXELS]).ljust(_PIXELS, b"\0")
