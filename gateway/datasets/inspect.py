"""Looks at one candidate image: is it one, and which?"""

from dataclasses import dataclass

from gateway.datasets.source import Entry
from gateway.digests import sha256_of
from gateway.resources import RejectedFile
from imaging.decode import ImageRejected, decode_image
from imaging.hashing import pixel_sha256

_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_LONGEST_CLASS_NAME = 200


@dataclass(frozen=True)
class Inspected:
    """A good image: its place, digests and size. `suffix` follows from the content."""

    entry: Entry
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    suffix: str

    @property
    def key(self) -> str:
        """Its key in the object store."""
        return image_key(self.sha256, self.suffix)


def image_key(sha256: str, suffix: str) -> str:
    """Returns the key of an image by its content."""
    return f"images/{sha256[:2]}/{sha256}.{suffix}"


def suffix_of(data: bytes) -> str:
    """Returns the file suffix that fits the content."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "img")


def inspect(entry: Entry) -> Inspected | RejectedFile:
    """Decodes one image. Whatever is wrong with it becomes a RejectedFile."""
    if len(entry.class_name) > _LONGEST_CLASS_NAME:
        return RejectedFile(entry.path, "BAD_CLASS_NAME", f"{entry.path}: class name too long")
    try:
        data = entry.read()
        image = decode_image(data, entry.path)
    except ImageRejected as error:
        return RejectedFile(entry.path, error.reason, error.message)
    return Inspected(
        entry=entry,
        sha256=sha256_of(data),
        pixel_sha256=pixel_sha256(image),
        width=image.width,
        height=image.height,
        suffix=suffix_of(data),
    )
