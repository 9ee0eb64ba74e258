"""The file of --names, in every form that people have one in."""

import json
import os

import pytest

from gateway.cli.failures import CliError
from gateway.cli.names_file import read_names, read_numbers

WANTED = {"n01440764": "tench", "7": "maillot, tank suit"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "# ours\nn01440764 = tench\n\n7 = maillot, tank suit\n"),
        ("names.txt", "n01440764=tench\n7=maillot, tank suit"),
        ("LOC_synset_mapping.txt", "n01440764 tench\n7\tmaillot, tank suit\n"),
        ("names.csv", 'class,name\r\nn01440764,tench\r\n7,"maillot, tank suit"\r\n'),
        ("names.CSV", 'n01440764, tench\n7,"maillot, tank suit"\n'),
        ("names.tsv", "class_name\tdisplay_name\nn01440764\ttench\n7\tmaillot, tank suit\n"),
        ("names.json", json.dumps(WANTED)),
        (
            "imagenet_class_index.json",
            '{"0": ["n01440764", "tench"], "1": ["7", "maillot, tank_suit"]}',
        ),
    ],
)
def test_every_form_says_what_a_class_is_called(tmp_path, file, text):
    path = tmp_path / file
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_names(str(path)) == WANTED
    assert read_names(None) == {}


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("a.txt", b"tench", "line 1: 'tench' has no '='"),
        ("a.txt", b"cat = \n", "line 1: a class and a name for it are needed"),
        ("a.txt", b"a = cat\na = dog\n", "line 2: 'a' is called 'cat' already"),
        ("a.txt", b"\xff\xfe", "not UTF-8 text"),
        ("a.txt", b"# nothing\n", "names no class"),
        ("a.txt", b"a = " + b"x" * 300, "more than 256 letters"),
        ("a.csv", b"7,maillot,tank suit", "line 1: there are 3 columns"),
        ("a.csv", b"7", "there are 1 columns"),
        ("a.json", b"[1]", "not a JSON object"),
        ("a.json", b'{"a": 3}', "key 'a': the name is not a string"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[" * 200_000, "is not JSON"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, file, data, words):
    path = tmp_path / file
    path.write_bytes(data)
    with pytest.raises(CliError) as caught:
        read_names(str(path))
    assert words in caught.value.message and str(path) in caught.value.message
    assert caught.value.exit_code == 3 and "n01440764 = tench" in caught.value.remedy


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CliError, match="cannot be read: No such file"):
        read_names(str(tmp_path / "none.txt"))
    with pytest.raises(CliError, match="cannot be read: Is a directory"):
        read_names(str(tmp_path))


def test_a_pipe_is_told_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "names.txt")
    with pytest.raises(CliError, match="cannot be read: it is a named pipe, not a file"):
        read_names(str(tmp_path / "names.txt"))


def test_numbers_of_a_pool_are_read_alike_and_nothing_but_numbers(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("3 = cat\n5 = dog\n")
    assert read_numbers(str(path)) == {3: "cat", 5: "dog"}
    assert read_numbers(None) == {}
    path.write_text("3 = cat\nfive = dog\n")
    with pytest.raises(CliError, match="'five' is not a class number"):
        read_numbers(str(path))
