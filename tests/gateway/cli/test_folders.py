"""What the command line says of folders before anything is started, and of files left out."""

import os
import subprocess
import sys

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.inputs import Reading, import_roots, names
from tests.gateway.pictures import write_folder


def test_unclear_folders_are_refused_with_what_to_type(variegate, tmp_path):
    write_folder(tmp_path / "data", classes=("train", "test"))
    answer = variegate("import", "data")
    assert answer.code == 2
    assert "data/train for training" in answer.err and "--layout classes" in answer.err


def test_images_beside_a_table_need_no_folders(variegate, gateway, tmp_path):
    write_folder(tmp_path, classes=("flat",))
    answer = variegate("import", "flat", "--gateway", gateway.target)
    assert answer.code == 2 and "metadata.csv" in answer.err
    for name in ("labels.CSV", "metadata.jsonl", "mine.tsv"):
        (tmp_path / "flat" / name).write_text("file_name,label\n")
        answer = variegate("import", "flat", "--gateway", gateway.target)
        assert answer.code == 0, answer.err
        (tmp_path / "flat" / name).unlink()


def test_folders_may_be_said_to_be_classes(variegate, gateway, tmp_path):
    write_folder(tmp_path / "data", classes=("train", "test"))
    answer = variegate("import", "data", "--layout", "classes", "--gateway", gateway.target)
    assert answer.code == 0, answer.err
    assert gateway.requests[0].source.layout == pb.FOLDER_LAYOUT_CLASSES


def test_training_needs_no_test_option_where_the_folder_has_a_test_split(variegate, tmp_path):
    write_folder(tmp_path / "flat")
    answer = variegate("train", "flat")
    assert answer.code == 2 and "no test split" in answer.err and "--test" in answer.err
    write_folder(tmp_path / "data" / "train")
    write_folder(tmp_path / "data" / "test", tag="test")
    answer = variegate("study", "data", "--methods", "mvcc")
    assert "no method 'mvcc'" in answer.err


def test_links_that_are_followed_open_what_they_lead_to_and_nothing_else(tmp_path):
    photos = write_folder(tmp_path / "photos")
    subset = tmp_path / "subset" / "cat"
    subset.mkdir(parents=True)
    (subset / "0.png").symlink_to(photos / "cat" / "0.png")
    assert import_roots(str(subset.parent)) == (subset.parent,)
    roots = import_roots(str(subset.parent), reading=Reading(follow_links=True))
    assert set(roots) == {subset.parent, photos / "cat"}


def test_files_that_could_not_be_reached_change_the_exit_code_and_are_counted(
    variegate, gateway, photos, monkeypatch
):
    answer = variegate("import", photos, "--gateway", gateway.target, "--json")
    assert answer.code == 0
    original = type(gateway).operation

    def operation(self, name, response):
        response.rejected_counts.add(reason="TRUNCATED", file_count=1)
        response.rejected_counts.add(reason="UNREADABLE", file_count=2)
        return original(self, name, response)

    monkeypatch.setattr(type(gateway), "operation", operation)
    answer = variegate("import", photos, "--gateway", gateway.target, "--json")
    assert answer.code == 5
    assert answer.document["rejected_counts"] == {"TRUNCATED": 1, "UNREADABLE": 2}
    assert "3 files were left out (1 TRUNCATED, 2 UNREADABLE)" in answer.err


@pytest.mark.parametrize("name", ["a.PARQUET", "b.TAR", "c.Parquet"])
def test_suffixes_count_in_any_case(variegate, gateway, tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert variegate("import", name, "--gateway", gateway.target).code == 0


def test_a_terminal_that_knows_ascii_only_gets_no_trace(gateway, tmp_path):
    write_folder(tmp_path / "Zürich")
    write_folder(tmp_path / "Zürich" / "\x1b[31mred" / "train", classes=("train", "test"))
    command = [sys.executable, "-m", "gateway.cli.main"]
    for folder in ("Zürich", "Zürich/\x1b[31mred/train"):
        done = subprocess.run(
            [*command, "import", folder, "--gateway", "127.0.0.1:1"],
            capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"},
            timeout=120, check=False,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr and b"\x1b" not in done.stderr + done.stdout


def test_names_with_a_comma_can_be_said():
    assert names(["maillot\\, tank suit,cat", "dog"]) == ["maillot, tank suit", "cat", "dog"]
    assert names("a, b,") == ["a", "b"] and names(None) == []
