"""Copies among an augmentation's own images: the first in the plan's order stays."""

from collections import defaultdict

from gateway.run.outcomes import Outcome
from imaging.near import NearIndex

# Perceptual hashes (64 bits) of one class this close are taken for one picture; ours.
NEAR_BITS = 2


class Seen:
    """Remembers accepted pictures. A look costs the same however many there are, or nearly so."""

    def __init__(self) -> None:
        self._pixels: dict[str, str] = {}
        self._hashes: dict[str, NearIndex] = defaultdict(NearIndex)
        self._owners: dict[str, list[str]] = defaultdict(list)

    def copy_of(self, class_name: str, outcome: Outcome) -> str:
        """Returns the id of the earlier item that this picture repeats; empty if none.

        Equal pixels count across classes, near-equal pictures within a class. A picture that
        repeats none is remembered.
        """
        if owner := self._pixels.get(outcome.pixel_sha256):
            return owner
        hashes = self._hashes[class_name]
        near = hashes.find(outcome.perceptual_hash, NEAR_BITS)
        if len(near):
            return self._owners[class_name][int(near[0])]
        self._pixels[outcome.pixel_sha256] = outcome.item_id
        hashes.add(outcome.perceptual_hash)
        self._owners[class_name].append(outcome.item_id)
        return ""
