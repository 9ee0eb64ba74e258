"""A confusion matrix as a table and as a picture."""

import csv
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Matrix = Sequence[Sequence[int]]

# Pixels: of a cell, and of the longest side of all cells together (then names are left out).
_CELL, _MOST_CELLS, _SMALLEST_NAMED = 56, 2000, 14
_MOST_NAME, _GAP = 24, 12
_BLUE = (31, 95, 168)


def as_csv(names: Sequence[str], matrix: Matrix) -> str:
    """The matrix with a head and a first column of class names: a row a true class, a column a
    predicted one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["true class \\ predicted class", *names])
    writer.writerows([name, *row] for name, row in zip(names, matrix, strict=True))
    return buffer.getvalue()


def as_png(names: Sequence[str], matrix: Matrix) -> bytes:
    """A PNG picture: a row a true class, a column a predicted one, darker the larger the share of
    the row. Counts are written where they fit; names too, unless there are too many classes."""
    side = max(1, min(_CELL, _MOST_CELLS // len(names)))
    font = ImageFont.load_default(max(10, min(15, side // 3)))
    shown = [_short(name) for name in names] if side >= _SMALLEST_NAMED else []
    margin = _GAP + int(max((font.getlength(name) for name in shown), default=0)) + _GAP
    extent, head = side * len(names), 24
    sheet = Image.new("RGB", (margin + extent + _GAP, head + margin + extent + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    title = "true class by row, predicted class by column"
    draw.text((_GAP, 6), title, "black", ImageFont.load_default(13))
    top = head + margin
    for at, name in enumerate(shown):
        middle = at * side + side // 2
        draw.text((margin - 6, top + middle), name, "black", font, anchor="rm")
        sheet.paste(upright := _upright(name, font), (margin + middle - upright.width // 2,
                    top - 6 - upright.height))  # fmt: skip
    for row, counts in enumerate(matrix):
        total = sum(counts) or 1
        for column, count in enumerate(counts):
            corner = (margin + column * side, top + row * side)
            _cell(draw, corner, side, count, count / total, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _cell(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    side: int,
    count: int,
    share: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    colour = tuple(round(255 + (end - 255) * share) for end in _BLUE)
    left, top = corner
    outline = "#d5d5d5" if side >= _SMALLEST_NAMED else None
    draw.rectangle((left, top, left + side - 1, top + side - 1), colour, outline)
    text = str(count)
    if count and font.getlength(text) < side - 4 and side >= _SMALLEST_NAMED:
        ink = "white" if share > 0.5 else "black"
        draw.text((left + side // 2, top + side // 2), text, ink, font, anchor="mm")


def _upright(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    image = Image.new("RGB", (int(font.getlength(name)) + 2, 20), "white")
    ImageDraw.Draw(image).text((0, 10), name, "black", font, anchor="lm")
    return image.rotate(90, expand=True)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"
