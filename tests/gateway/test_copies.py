"""Copies among an augmentation's own images: found as by a scan of all that were accepted."""

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.augment.outcomes import Outcome
from gateway.augment.seen import NEAR_BITS, Seen, _Digests
from gateway.digests import digest


class Scan:
    """The same, by looking at everything."""

    def __init__(self):
        self.pixels, self.pictures = {}, []

    def copy_of(self, class_name, outcome):
        if outcome.pixel_sha256 in self.pixels:
            return self.pixels[outcome.pixel_sha256]
        for name, number, item_id in self.pictures:
            if name == class_name and (number ^ outcome.perceptual_hash).bit_count() <= NEAR_BITS:
                return item_id
        self.pixels[outcome.pixel_sha256] = outcome.item_id
        self.pictures.append((class_name, outcome.perceptual_hash, outcome.item_id))
        return ""


def compare(pictures):
    seen, scan = Seen(), Scan()
    for number, (class_name, pixels, value) in enumerate(pictures):
        one = Outcome(
            digest("item", number), pixel_sha256=digest(pixels, length=64), perceptual_hash=value
        )
        assert seen.copy_of(class_name, one) == scan.copy_of(class_name, one)


hashes = st.builds(
    lambda base, flips: base ^ sum(1 << bit for bit in set(flips)),
    st.sampled_from([0, 2**64 - 1, 0x123456789ABCDEF0]),
    st.lists(st.integers(0, 63), max_size=6),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), hashes), max_size=40))
def test_the_same_copies_are_found_as_by_a_scan(pictures):
    compare(pictures)


def test_the_same_copies_are_found_as_by_a_scan_among_thousands():
    random = np.random.default_rng(0)
    bases = [int(value) for value in random.integers(0, 2**64, 200, dtype=np.uint64)]
    pictures = []
    for number in range(3000):
        value = bases[int(random.integers(200))]
        for bit in random.choice(64, int(random.integers(0, 12)), replace=False):
            value ^= 1 << int(bit)
        pictures.append(("cat", number, value))
    compare(pictures)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 999), hashes), max_size=60),
    st.integers(1, 30),
)
def test_pictures_remembered_together_are_found_like_those_remembered_one_by_one(pictures, size):
    one_by_one, together, accepted = Seen(), Seen(), []
    for number, (class_name, pixels, value) in enumerate(pictures):
        one = Outcome(
            digest("item", number), pixel_sha256=digest(pixels, length=64), perceptual_hash=value
        )
        if not one_by_one.copy_of(class_name, one):
            accepted.append((class_name, one))
    for first in range(0, len(accepted), size):
        names, some = zip(*accepted[first : first + size], strict=True)
        together.remember(
            np.array(names, object),
            [one.item_id for one in some],
            [one.pixel_sha256 for one in some],
            np.array([one.perceptual_hash for one in some], np.uint64),
        )
    for class_name, pixels, value in pictures:
        one = Outcome("", pixel_sha256=digest(pixels, length=64), perceptual_hash=value)
        assert together.copy_of(class_name, one) == one_by_one.copy_of(class_name, one) != ""


def test_thousands_of_digests_are_found_where_they_were_put():
    digests = [hashlib.sha256(b"%d" % number).digest()[:16] for number in range(20_000)]
    # Many that meet in the same slots.
    digests += [bytes(7) + bytes([number % 3]) + digests[number][8:] for number in range(300)]
    kept = _Digests()
    for first in range(0, len(digests), 700):
        assert kept.add_all(b"".join(digests[first : first + 700])) == first
    assert [kept.find(one) for one in digests] == list(range(len(digests)))
    assert kept.find(bytes(16)) == -1
