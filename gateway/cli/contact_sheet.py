"""A preview for the eye: a row of images per class, as a picture and as a page."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from servicekit.storage import ObjectStore, to_key

PICTURE, PAGE = "preview.png", "preview.html"
# Small images are shown larger, large ones smaller.
_SIDE, _GAP, _LINE = 128, 8, 20
# A picture must stay one that can be opened; the page has all of them.
_MOST_ROWS, _MOST_COLUMNS = 100, 16

Rows = Mapping[str, Sequence[bytes]]


def images_of(store: ObjectStore, manifest_uri: str) -> dict[str, list[bytes]]:
    """The images of a manifest by class, in its order."""
    data = store.get(to_key(manifest_uri))
    table = pq.read_table(io.BytesIO(data), columns=["class_name", "image_uri"])
    images: dict[str, list[bytes]] = {}
    for row in table.to_pylist():
        images.setdefault(row["class_name"], []).append(store.get(to_key(row["image_uri"])))
    return images


def write_sheet(folder: Path, images: Rows) -> list[Path]:
    """Writes both into the folder; `images` are the encoded images of each row, in order."""
    thumbs = {
        name: [_thumb(data) for data in found[:_MOST_COLUMNS]]
        for name, found in list(images.items())[:_MOST_ROWS]
    }
    _picture(thumbs).save(folder / PICTURE)
    write_page(
        folder / PAGE, {name: [(data, "") for data in found] for name, found in images.items()}
    )
    return [folder / PICTURE, folder / PAGE]


def write_page(page: Path, images: Mapping[str, Sequence[tuple[bytes, str]]]) -> None:
    """Writes a page of images, each with what is said of it."""
    page.write_text(_page(images), "utf-8")


def _thumb(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _picture(thumbs: Mapping[str, list[Image.Image]]) -> Image.Image:
    columns = max((len(row) for row in thumbs.values()), default=1) or 1
    height = len(thumbs) * (_SIDE + _LINE + _GAP) + _GAP
    sheet = Image.new("RGB", (columns * (_SIDE + _GAP) + _GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, (name, images) in enumerate(thumbs.items()):
        top = row * (_SIDE + _LINE + _GAP) + _GAP
        draw.text((_GAP, top), name, "black", font)
        for column, image in enumerate(images):
            sheet.paste(image, (_GAP + column * (_SIDE + _GAP), top + _LINE))
    return sheet


def _page(images: Mapping[str, Sequence[tuple[bytes, str]]]) -> str:
    style = (
        "body{font-family:sans-serif}img{width:128px;margin:2px;image-rendering:pixelated}"
        "h2{font-size:1rem;margin:1rem 0 .2rem}"
    )
    parts = [
        "<!doctype html><meta charset=utf-8><title>Preview</title>",
        f"<style>{style}</style>",
        *(f"<h2>{escape(name)}</h2>{''.join(map(_img, row))}" for name, row in images.items()),
    ]
    return "\n".join(parts) + "\n"


def _img(picture: tuple[bytes, str]) -> str:
    data, said = picture
    kind: Any = Image.open(io.BytesIO(data)).format
    code = base64.b64encode(data).decode()
    return f'<img title="{escape(said)}" src="data:image/{str(kind).lower()};base64,{code}">'
