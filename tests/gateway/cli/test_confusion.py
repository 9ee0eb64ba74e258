"""Confusion matrices as files."""

import csv
import io

import pytest
from PIL import Image

from gateway.cli.confusion import as_csv, as_png


def test_the_table_names_its_rows_and_columns_whatever_the_names():
    names = ["maillot, tank suit", 'a "dog"', "Zürich"]
    rows = list(csv.reader(io.StringIO(as_csv(names, [[3, 1, 0], [0, 2, 0], [0, 0, 5]]))))
    assert rows[0][1:] == names and [row[0] for row in rows[1:]] == names
    assert [row[1:] for row in rows[1:]] == [["3", "1", "0"], ["0", "2", "0"], ["0", "0", "5"]]


@pytest.mark.parametrize("count", [1, 2, 30, 1000])
def test_the_picture_shows_every_cell_and_stays_one_that_can_be_opened(count):
    names = [f"a class with a rather long name {at}" for at in range(count)]
    matrix = [[9 if row == column else 0 for column in range(count)] for row in range(count)]
    picture = Image.open(io.BytesIO(as_png(names, matrix)))
    assert max(picture.size) < 2400
    colours = picture.convert("RGB").getcolors(1 << 24)
    blue = sum(number for number, (red, _, blue) in colours if blue - red > 100)
    side = max(1, min(56, 2000 // count))
    assert blue >= 0.3 * count * side * side, "the diagonal is dark"


def test_the_picture_of_a_class_without_test_images_is_pale():
    pale = Image.open(io.BytesIO(as_png(["a", "b"], [[0, 0], [0, 0]]))).convert("RGB")
    assert all(blue - red < 100 for _, (red, _, blue) in pale.getcolors(1 << 24))
