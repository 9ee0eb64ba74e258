"""The pictures and the lineage of an output's images, read when they are looked at."""

import io
import json
import math
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.cli.review.catalogue import Shown

# Sides of what is shown, in pixels; smaller pictures stay as they are.
THUMB, LARGE = 192, 1024
_QUALITY = 90
# Tables of shards that are kept: a page seldom has images of more.
_SHARDS = 8
_EXACT = 2**53  # Whole numbers up to here are exact in JavaScript.


class NoPicture(Exception):
    """A picture that cannot be shown; the text says why."""


@dataclass(frozen=True)
class Parent:
    """A parent of an image: its file below the images that it was made from, if that is known."""

    item_id: str
    file: str
    is_there: bool


class Pictures:
    """Reads an output's files. `originals` is where the images are that it was made from."""

    def __init__(self, folder: Path, manifest: Path, originals: Path | None) -> None:
        self._folder, self._originals = folder, originals
        self._rows = Rows(manifest)

    def of(self, image: Shown, side: int) -> bytes:
        """Returns an image as a PNG, or a JPEG where it had to be made smaller.

        Raises NoPicture.
        """
        return shown(self._read(image.file_name), image.file_name, side)

    def of_parent(self, image: Shown, place: int, side: int) -> bytes:
        """Returns one of an image's parents, by its place among them. Raises NoPicture."""
        parents = self.parents(image)
        if not 0 <= place < len(parents):
            raise NoPicture("there is no such parent")
        path = self._original(parents[place].file)
        if path is None:
            raise NoPicture(f"{parents[place].file or 'the parent'} is not where it was")
        return shown(_bytes(path), parents[place].file, side)

    def parents(self, image: Shown) -> list[Parent]:
        """Returns the parents of an image, as the manifest has them."""
        row = self._rows[image.number - 1]
        ids = row.get("parents") or []
        files = row.get("parent_files") or [""] * len(ids)
        return [
            Parent(item_id, file or "", self._original(file or "") is not None)
            for item_id, file in zip(ids, files, strict=False)
        ]

    def facts(self, image: Shown) -> dict[str, Any]:
        """Returns the row of an image in the manifest, its lineage unfolded."""
        row = dict(self._rows[image.number - 1])
        try:
            row["lineage"] = json.loads(row.get("lineage") or "{}")
        except ValueError:
            row["lineage"] = {"text": row["lineage"]}
        return {name: plain(value) for name, value in row.items()}

    def _original(self, file: str) -> Path | None:
        """Returns the file of a parent; None if it is not a file below the originals."""
        place = PurePosixPath(file)
        if not self._originals or not file or place.is_absolute() or ".." in place.parts:
            return None
        path = self._originals / place
        return path if path.is_file() else None

    def _read(self, file_name: str) -> bytes:
        place = PurePosixPath(file_name or "")
        if not file_name or place.is_absolute() or ".." in place.parts:
            raise NoPicture(f"{file_name!r} is no place of a file")
        if place.parent.suffix == ".tar":
            return _of_shard(self._folder / place.parent, place.name)
        path = self._folder / place
        if not path.is_file():  # A person may have moved it to the folder of another class.
            moved = [one / place.name for one in self._folder.iterdir() if one.is_dir()]
            path = next((one for one in moved if one.is_file()), path)
        return _bytes(path)


class Rows:
    """The rows of a manifest by their place. No more than one row group is unpacked at a time."""

    def __init__(self, manifest: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(manifest)
        self._lock = threading.Lock()
        self._group: Any = None
        self._span = range(0)

    def __getitem__(self, place: int) -> Mapping[str, Any]:
        with self._lock:
            if place not in self._span:
                self._unpack(place)
            row: dict[str, Any] = self._group.slice(place - self._span.start, 1).to_pylist()[0]
            return row

    def _unpack(self, place: int) -> None:
        start, self._group = 0, None
        for number in range(self._file.num_row_groups):
            end = start + self._file.metadata.row_group(number).num_rows
            if place < end:
                self._group = self._file.read_row_group(number)
                self._span = range(start, end)
                return
            start = end
        raise IndexError(place)


def shown(data: bytes, name: str, side: int) -> bytes:
    """Returns a picture for a page, at most `side` pixels wide and high. Raises NoPicture."""
    from PIL import Image

    from imaging.decode import ImageRejected, decode_image

    try:
        image = decode_image(data, name)
    except ImageRejected as error:
        raise NoPicture(str(error)) from error
    buffer = io.BytesIO()
    if max(image.size) <= side:
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def plain(value: Any) -> Any:
    """Returns a value of a manifest as JSON has it: what browsers do not read is text."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)  # A seed has 64 bits.
    return value if isinstance(value, str | int | float | None) else str(value)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NoPicture(f"{path.name}: {error.strerror or error}") from error


def _of_shard(shard: Path, name: str) -> bytes:
    try:
        members = _members(shard, shard.stat().st_mtime_ns)
        if name not in members:
            raise NoPicture(f"{shard.name} has no {name}")
        offset, size = members[name]
        with shard.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except (tarfile.TarError, OSError) as error:
        raise NoPicture(f"{shard.name}: {error}") from error


@lru_cache(_SHARDS)
def _members(shard: Path, changed: int) -> dict[str, tuple[int, int]]:
    """Returns where the files of a shard, which was `changed` then, begin, and their sizes."""
    with tarfile.open(shard, "r:") as tar:
        return {one.name: (one.offset_data, one.size) for one in tar if one.isfile()}
