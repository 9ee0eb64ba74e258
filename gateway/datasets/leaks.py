"""Test images that training images repeat: what keeps a test from telling anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from tempfile import TemporaryFile

import numpy as np

from datafiles.places.layout import TEST
from gateway.datasets.inspect import Inspected
from imaging.copies import CopyIndex
from imaging.fingerprint import SIDE, Thumbnail, crop_hashes
from servicekit.errors import Precondition

_NAMED = 5
# Training images that are compared between two reports.
_BLOCK = 256


class Thumbnails:
    """Thumbnails of images that were put away: 1 KB each in a nameless file, none in memory."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="variegate-")  # noqa: SIM115 (closed by __exit__)
        self._count = 0

    def __enter__(self) -> "Thumbnails":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def put_away(self, image: Inspected) -> Inspected:
        """Returns the image without its thumbnail, if it had one, and with its number."""
        if image.thumbnail is None:
            return image
        self._file.write(image.thumbnail.tobytes())
        self._count += 1
        return replace(image, thumbnail=None, number=self._count - 1)

    def of(self, images: Sequence[Inspected]) -> Thumbnail:
        """Returns the thumbnails, uint8 [n, 32, 32], of images that were put away."""
        self._file.flush()
        every = np.memmap(self._file, np.uint8, "r", shape=(self._count, SIDE, SIDE))
        return np.asarray(every[[image.number for image in images]])


def near_copies(
    train: Sequence[Inspected],
    test: Sequence[Inspected],
    thumbnails: Thumbnails,
    report: Callable[[str, int, int], None],
    split: str = TEST,
) -> dict[int, Inspected]:
    """Returns, by the place of a training image, the test image that it nearly copies.

    `split` is what the images to compare with are called.
    """
    if not train or not test:
        return {}
    known = thumbnails.of(test)
    index = CopyIndex.build(np.stack([crop_hashes(one) for one in known]), known)
    found: dict[int, Inspected] = {}
    for start in range(0, len(train), _BLOCK):
        rows = index.find_all(thumbnails.of(train[start : start + _BLOCK]))
        found |= {start + place: test[row] for place, row in enumerate(rows) if row is not None}
        report(f"compare train with {split}", min(start + _BLOCK, len(train)), len(train))
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


def validation_warnings_of(
    train: Sequence[Inspected], repeated: Mapping[int, Inspected]
) -> list[str]:
    """Returns what people should know of training images that nearly copy validation images."""
    if not repeated:
        return []
    return [
        f"{len(repeated):,} training images are near copies of validation images, for example "
        f"{_named(train, repeated)}; choices by these images look better than they are: remove "
        "copies"
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
