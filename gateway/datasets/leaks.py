"""Test images that training images repeat: what keeps a test from telling anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from gateway.datasets.inspect import Inspected
from imaging.copies import CopyIndex
from imaging.decode import decode_image
from imaging.fingerprint import Thumbnail, thumbnail_of
from servicekit.errors import Precondition

_NAMED = 5


def near_copies(
    train: Sequence[Inspected], test: Sequence[Inspected], report: Callable[[str, int, int], None]
) -> dict[int, Inspected]:
    """Returns, by the place of a training image, the test image that it nearly copies.

    Both have to be hashed. What the hashes lead to is decoded again and compared on its pixels,
    so that no picture is kept in memory.
    """
    if not train or not test:
        return {}
    known = np.stack([image.hashes[:-1] for image in test if image.hashes is not None])
    index = CopyIndex.build(known, lambda row: _thumbnail(test[row]))
    found: dict[int, Inspected] = {}
    for place, image in enumerate(train):
        assert image.hashes is not None
        row = index.find_hashed(image.hashes[[0, -1]], partial(_thumbnail, image))
        if row is not None:
            found[place] = test[row]
        report("compare train with test", place + 1, len(train))
    return found


def marked(train: Sequence[Inspected], leaks: Mapping[int, Inspected]) -> list[Inspected]:
    """Returns the training images; those that leak say so in their notes."""
    return [
        replace(image, notes=(*image.notes, f"near copy of the test image {twin.entry.path}"))
        if (twin := leaks.get(place))
        else image
        for place, image in enumerate(train)
    ]


def warnings_of(train: Sequence[Inspected], leaks: Mapping[int, Inspected]) -> list[str]:
    """Returns what people should know of near copies."""
    if not leaks:
        return []
    return [
        f"leak: {len(leaks):,} training images are near copies of test images (re-saved, resized, "
        f"slightly cropped or mirrored), for example {_named(train, leaks)}; they stay in the "
        "dataset, each with a note in its manifest, and make the accuracy look better than it is: "
        "remove them from one side"
    ]


def refuse(train: Sequence[Inspected], leaks: Mapping[int, Inspected], exact: int) -> None:
    """Raises Precondition if there is any leak: near copies, or `exact` copies."""
    if not leaks and not exact:
        return
    examples = f", for example {_named(train, leaks)}" if leaks else ""
    raise Precondition(
        f"{exact:,} training images are test images and {len(leaks):,} are near copies of some"
        f"{examples}; remove them from one side, or allow leaks",
        subject="source.test_uri",
        reason="SPLITS_LEAK",
    )


def _named(train: Sequence[Inspected], leaks: Mapping[int, Inspected]) -> str:
    pairs = [(train[place].entry.path, twin.entry.path) for place, twin in leaks.items()]
    return ", ".join(f"{path} of {twin}" for path, twin in pairs[:_NAMED])


def _thumbnail(image: Inspected) -> Thumbnail:
    return thumbnail_of(decode_image(image.entry.read(), image.entry.path))
