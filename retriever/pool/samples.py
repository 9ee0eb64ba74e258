"""Samples: files of one name and different extensions that belong together (WebDataset)."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from retriever.pool.base import PoolRow, class_of, scalars

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")


def samples(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yields each sample that has an image: its names by extension, in lower case.

    A sample's name ends at the first dot of the last part of the path, and its files follow each
    other, as WebDataset has it. Hidden files are skipped.
    """
    shown = (name for name in names if not name.rpartition("/")[2].startswith("."))
    for stem, members in groupby(shown, _stem):
        files = {name[len(stem) + 1 :].lower(): name for name in members}
        if not files.keys().isdisjoint(IMAGES):
            yield files


def to_row(
    files: Mapping[str, str],
    read: Callable[[str], bytes],
    *,
    image_uri: str = "",
    folder: str = "",
) -> PoolRow:
    """Returns the row of a sample that has an image.

    The image is read unless its URI is given. `txt` is the caption, `cls` the label, `json` holds
    both and whatever else is known; see `class_of` for what names the class.
    """
    notes = _notes(read(files["json"])) if "json" in files else {}
    label = _text(read(files["cls"])) if "cls" in files else notes.pop("label", None)
    caption = _text(read(files["txt"])) if "txt" in files else notes.pop("caption", "")
    number, class_name = class_of(label, notes.pop("class_name", ""), folder)
    return PoolRow(
        data=None if image_uri else read(image_of(files)),
        image_uri=image_uri,
        caption=str(caption or ""),
        label=number,
        class_name=class_name,
        extras=scalars(notes),
    )


def image_of(files: Mapping[str, str]) -> str:
    """Returns the name of a sample's image."""
    return next(files[kind] for kind in IMAGES if kind in files)


def folder_of(path: str) -> str:
    """Returns the name of the folder that a file is in; "" if it is in none."""
    return path.rpartition("/")[0].rpartition("/")[2].strip(".")


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


def _notes(data: bytes) -> dict[str, Any]:
    """Returns the object of a JSON file; a sample with a broken one is still an image."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
