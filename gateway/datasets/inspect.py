"""Looks at one candidate image: is it one, and which?"""

from dataclasses import dataclass, field

from datafiles.rejected import RejectedFile
from gateway.datasets.source import Entry
from gateway.digests import sha256_of
from imaging.decode import ImageRejected, decode
from imaging.fingerprint import Thumbnail, thumbnail_of
from imaging.hashing import pixel_sha256

_LONGEST_CLASS_NAME = 200


@dataclass(frozen=True)
class Inspected:
    """A good image: its place, digests and size. `suffix` follows from the content.

    `notes` say what had to be assumed to read it.
    """

    entry: Entry
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    suffix: str
    notes: tuple[str, ...] = ()
    # Where near copies are looked for: made by `inspect`, then put away under a number.
    thumbnail: Thumbnail | None = field(default=None, compare=False, repr=False)
    number: int = field(default=-1, compare=False)

    @property
    def key(self) -> str:
        """Its key in the object store."""
        return image_key(self.sha256, self.suffix)


def image_key(sha256: str, suffix: str) -> str:
    """Returns the key of an image by its content."""
    return f"images/{sha256[:2]}/{sha256}.{suffix}"


def inspect(entry: Entry, compared: bool = False) -> Inspected | RejectedFile:
    """Decodes one image, and makes its thumbnail if it is to be `compared`.

    Whatever is wrong with it becomes a RejectedFile.
    """
    if len(entry.class_name) > _LONGEST_CLASS_NAME:
        return RejectedFile(entry.path, "BAD_CLASS_NAME", f"{entry.path}: class name too long")
    try:
        data = entry.read()
        decoded = decode(data, entry.path)
    except ImageRejected as error:
        return RejectedFile(entry.path, error.reason, error.message)
    image = decoded.image
    return Inspected(
        entry=entry,
        sha256=sha256_of(data),
        pixel_sha256=pixel_sha256(image),
        width=image.width,
        height=image.height,
        suffix=decoded.suffix,
        notes=decoded.notes,
        thumbnail=thumbnail_of(image) if compared else None,
    )
