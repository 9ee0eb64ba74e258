"""WebDataset shards: .tar files in which KEY.jpg stands beside KEY.cls or KEY.json.

img2dataset's output is of this kind; its .parquet and _stats.json files beside the shards are not
needed and not read.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from gateway.datasets.places import MAX_BYTES, Place
from gateway.datasets.source import Entry, Found, is_shard
from gateway.resources import RejectedFile

_IMAGES = {"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"}
_TEXTS = {"cls", "json"}
_LONGEST_TEXT = 2**20
_BLOCK = 512


@dataclass
class _Sample:
    """The files of one key. `images` are (name, offset, size) in the shard."""

    key: str
    images: list[tuple[str, int, int]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)


class WebDatasetSource:
    """Takes the class from class_name or label of the .json, else from the .cls."""

    id = "webdataset"

    def fits(self, place: Place) -> bool:
        return is_shard(place.uri) or any(is_shard(path) for path in _names(place))

    def scan(self, place: Place, field: str) -> Iterator[Found]:
        if is_shard(place.uri):
            yield from _scan_shard(place, "")
            return
        for found in place.files():
            if isinstance(found, RejectedFile):
                yield found
            elif is_shard(found):
                yield from _scan_shard(place, found)


def _names(place: Place) -> list[str]:
    return [found for found in place.files() if isinstance(found, str)]


def _scan_shard(place: Place, shard: str) -> Iterator[Found]:
    """Yields what a shard holds. One that is damaged is listed, after what could be read of it."""
    name = shard or place.uri.rpartition("/")[2]
    try:
        with place.open(shard) as file:
            for sample in _samples(file):
                yield from _found(place, shard, name, sample)
    except (tarfile.TarError, OSError, EOFError) as error:
        message = f"{name} is damaged from here on: {error}; get it again"
        yield RejectedFile(name, "BAD_SHARD", message)


def _samples(file: BinaryIO) -> Iterator[_Sample]:
    """Yields the samples of a shard: the files that follow each other with one key."""
    sample: _Sample | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                folder, slash, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if not member.isreg() or member.issparse() or not stem:
                    continue
                key = f"{folder}{slash}{stem}"
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = _Sample(key)
                kind = suffix.lower().rpartition(".")[2]
                if kind in _IMAGES:
                    sample.images.append((f"{key}.{suffix}", member.offset_data, member.size))
                elif kind in _TEXTS and member.size <= _LONGEST_TEXT:
                    reader = tar.extractfile(member)
                    sample.texts[kind] = reader.read() if reader else b""
            _check_end(file, tar.offset)
    finally:
        if sample is not None:
            yield sample


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raises ReadError unless the end mark follows: tarfile takes damage for the end."""
    file.seek(offset)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("the mark of the end is missing")


def _found(place: Place, shard: str, name: str, sample: _Sample) -> Iterator[Found]:
    path = f"{name}/{sample.key}"
    if not sample.images:
        yield RejectedFile(path, "NO_IMAGE", f"{path} has no image")
        return
    class_name = _class_of(sample)
    for image, offset, size in sample.images:
        path = f"{name}/{image}"
        if not class_name:
            message = f"{path} has no class; add class_name to its .json, or a .cls"
            yield RejectedFile(path, "NO_CLASS", message)
        elif size > MAX_BYTES:
            message = f"{path} has {size} bytes; at most {MAX_BYTES} are read"
            yield RejectedFile(path, "TOO_MANY_BYTES", message)
        else:
            yield Entry(path, class_name, partial(place.read_part, shard, offset, size))


def _class_of(sample: _Sample) -> str:
    """Returns the class; "" if there is none."""
    try:
        facts = json.loads(sample.texts.get("json", b"{}"))
    except ValueError:
        facts = {}
    found = [facts.get(name) for name in ("class_name", "label")] if isinstance(facts, dict) else []
    found.append(sample.texts.get("cls", b"").decode("utf-8", "replace"))
    names = (str(value).strip() for value in found if isinstance(value, str | int))
    return next((name for name in names if name), "")


SOURCE = WebDatasetSource()
