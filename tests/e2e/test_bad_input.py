"""What people get wrong, from the command line: a sentence, an exit code, and no traceback."""

import io
import shutil

import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def spoilt(finished, code, *words):
    assert finished.code == code, (finished.code, finished.out, finished.err)
    said = finished.out + finished.err
    assert "Traceback" not in said
    for word in words:
        assert word in said, said


def test_a_folder_that_is_not_there(variegate, tmp_path):
    finished = variegate("augment", tmp_path / "nowhere", "--method", "mvc", "--out", "o")
    spoilt(finished, 3, "nowhere")


def test_an_empty_folder(variegate, tmp_path):
    (tmp_path / "empty").mkdir()
    finished = variegate("augment", tmp_path / "empty", "--method", "mvc", "--out", "o")
    spoilt(finished, 2, "empty", "name of the class")


def test_an_unknown_method_with_the_one_that_was_meant(variegate, photographs):
    finished = variegate("augment", photographs / "train", "--method", "mcv", "--out", "o")
    spoilt(finished, 2, "mcv", "mvc")


def test_an_output_that_is_somebody_elses_is_never_touched(variegate, photographs, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "precious.txt").write_text("mine")
    finished = variegate("augment", photographs / "train", "--method", "mvc", "--out", "o")
    spoilt(finished, 3, "variegate did not make it", "--out")
    assert (tmp_path / "o" / "precious.txt").read_text() == "mine"


def test_every_kind_of_bad_file_is_listed_and_the_rest_is_used(variegate, photographs, tmp_path):
    folder = tmp_path / "mixed bag ü"
    shutil.copytree(photographs / "train", folder)
    dog = folder / "dog"
    good = (dog / "00.png").read_bytes()
    (dog / "zero.png").write_bytes(b"")
    (dog / "cut.png").write_bytes(good[: len(good) // 2])
    (dog / "note.jpg").write_text("not a picture")
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    (dog / "huge.png").write_bytes(buffer.getvalue())
    finished = variegate("import", folder, "--json", "--state", tmp_path / "state")
    assert finished.code == 0, finished.err
    text = finished.out
    for name, reason in {
        "zero.png": "EMPTY",
        "cut.png": "TRUNCATED",
        "note.jpg": "NOT_AN_IMAGE",
        "huge.png": "TOO_MANY_PIXELS",
    }.items():
        assert name in text
        assert reason in text
    assert text.count('"reason": "TRUNCATED"') == 1
