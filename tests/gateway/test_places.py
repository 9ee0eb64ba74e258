"""What may lie in a folder besides images: pipes, links, locked folders and names of any bytes."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from datafiles.places.opening import open_regular
from datafiles.places.place import locate
from servicekit.errors import InvalidArgument
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder


def test_pipes_sockets_and_devices_are_listed_and_never_opened(tmp_path):
    root = write_folder(tmp_path)
    os.mkfifo(root / "cat" / "pipe.jpg")
    os.mkfifo(root / "loose.tar")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "dog" / "socket.png"))
        (root / "cat" / "zero.png").symlink_to("/dev/zero")
        dataset, items, _ = take(root, root=tmp_path)
        followed, _, _ = take(root, root="/", follow_links=True)
    assert reasons(dataset) == {
        "cat/pipe.jpg": "NOT_A_FILE",
        "cat/zero.png": "OUTSIDE_ROOT",
        "dog/socket.png": "NOT_A_FILE",
        "loose.tar": "NOT_A_FILE",
    }
    assert reasons(followed)["cat/zero.png"] == "NOT_A_FILE"
    assert "a named pipe" in dataset.rejected_files[0].message
    assert len(items) == 6
    assert dict(dataset.rejected_counts) == {"NOT_A_FILE": 3, "OUTSIDE_ROOT": 1}


def test_a_file_that_became_a_pipe_since_it_was_listed_is_not_waited_for(tmp_path):
    root = write_folder(tmp_path)
    place = locate(f"file://{root}", store=None, roots=(str(tmp_path),), field="x")
    names = list(place.files())
    (root / "cat" / "0.png").unlink()
    os.mkfifo(root / "cat" / "0.png")
    done = threading.Event()

    def read():
        with pytest.raises(ValueError, match=r"cat/0.png cannot be read: it is a named pipe"):
            place.read(names[0])
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(5)


def test_a_file_that_became_a_link_out_of_the_folder_since_it_was_listed_is_not_read(tmp_path):
    root = write_folder(tmp_path / "set")
    (tmp_path / "secret.png").write_bytes(picture("secret"))
    place = locate(f"file://{root}", store=None, roots=(str(root),), field="x")
    (root / "cat" / "0.png").unlink()
    (root / "cat" / "0.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="a link that leaves the folder"):
        place.read("cat/0.png")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_regular_files_are_opened(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(OSError, match=r"it is a named pipe|Is a directory"):
        open_regular(tmp_path / "x")


@pytest.mark.parametrize("name", ["pipe", "pipe.parquet", "pipe.tar"])
def test_a_pipe_given_as_a_source_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InvalidArgument, match="is a named pipe"):
        take(tmp_path / name, root=tmp_path)


LOCKED = """
import json, os, sys
from gateway.datasets.importer import import_dataset
from gateway.api.resources import Dataset, DatasetSource
from servicekit.errors import ServiceError
from servicekit.storage import MemoryStore

def take(folder):
    dataset = Dataset("datasets/d", DatasetSource(f"file://{folder}"))
    return import_dataset(dataset, store=MemoryStore(), roots=("/",), report=lambda *_: None)

take(sys.argv[1])  # loads all modules while they can be read
os.setgid(65534); os.setuid(65534)  # root reads everything
try:
    found = take(sys.argv[2])
    print(json.dumps({
        "rejected": {f.path: [f.reason, f.message] for f in found.rejected_files},
        "counts": dict(found.rejected_counts),
        "classes": {c.class_name: c.train_count for c in found.classes},
        "warnings": found.warnings,
    }))
except ServiceError as error:
    print(json.dumps({"error": [error.reason, error.message]}))
"""


@pytest.fixture
def as_nobody(tmp_path_factory):
    """Imports a folder as a user who may not read everything."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")

    def run(root):
        for folder in root.parents:
            if folder.stat().st_mode & 0o5 != 0o5 and folder.is_relative_to("/tmp"):
                folder.chmod(0o755)
        good = write_folder(tmp_path_factory.mktemp("good"))
        command = [sys.executable, "-c", LOCKED, str(good), str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_folders_and_files_that_cannot_be_read_are_named(tmp_path, as_nobody):
    root = write_folder(tmp_path / "set", classes=("cat", "dog", "fox"))
    (root / "dog").chmod(0o000)
    (root / "fox" / "sub").mkdir()
    (root / "fox" / "sub").chmod(0o000)
    (root / "cat" / "0.png").chmod(0o000)
    found = as_nobody(root)
    assert found["rejected"] == {
        "cat/0.png": ["UNREADABLE", "cat/0.png cannot be read: Permission denied"],
        "dog": ["UNREADABLE", "dog cannot be read: Permission denied"],
        "fox/sub": ["UNREADABLE", "fox/sub cannot be read: Permission denied"],
    }
    assert found["counts"] == {"UNREADABLE": 3}
    assert found["classes"] == {"cat": 2, "fox": 3}
    assert not any("holds no files" in text for text in found["warnings"])


def test_a_place_that_cannot_be_read_at_all_is_an_error_with_its_name(tmp_path, as_nobody):
    root = write_folder(tmp_path / "set")
    root.chmod(0o000)
    reason, message = as_nobody(root)["error"]
    assert reason == "SOURCE_UNREADABLE"
    assert str(root) in message and "Permission denied" in message
    root.chmod(0o755)
    (root / "cat").chmod(0o000)
    (root / "dog").chmod(0o000)
    reason, message = as_nobody(root)["error"]
    assert reason == "EMPTY_DATASET" and "cat cannot be read" in message


def test_a_test_split_that_cannot_be_read_is_named_though_it_is_not_used(tmp_path, as_nobody):
    write_folder(tmp_path / "set" / "train")
    write_folder(tmp_path / "set" / "test", tag="test")
    (tmp_path / "set" / "test").chmod(0o000)
    assert as_nobody(tmp_path / "set")["rejected"]["test"][0] == "UNREADABLE"


def test_names_of_bytes_that_are_no_utf_8_are_listed_and_end_nothing(tmp_path):
    root = write_folder(tmp_path / os.fsdecode(b"s\xe4t"))
    (root / "cat" / os.fsdecode(b"caf\xe9.png")).write_bytes(picture("x"))
    (root / os.fsdecode(b"b\xe4r")).mkdir()
    (root / os.fsdecode(b"b\xe4r") / "0.png").write_bytes(picture("y"))
    (root / os.fsdecode(b"\xff.txt")).write_bytes(b"note")
    dataset, items, _ = take(root.as_uri(), root=tmp_path)
    assert reasons(dataset) == dict.fromkeys(
        [r"b\xe4r/0.png", r"cat/caf\xe9.png", r"\xff.txt"], "NAME_NOT_UTF8"
    )
    assert len(items) == 6
    for text in (*(f.message for f in dataset.rejected_files), *dataset.warnings):
        text.encode("utf-8")


def test_names_with_escape_sequences_are_shown_without_them(tmp_path):
    root = write_folder(tmp_path)
    (root / "cat" / "\x1b[31m.png").write_bytes(b"no image")
    (root / "\x1b[2J").mkdir()
    (root / "\x1b[2J" / "0.png").write_bytes(picture("x"))
    (root / "evil\u202egnp").mkdir()
    dataset, _, _ = take(root, root=tmp_path)
    assert reasons(dataset) == {
        r"cat/\x1b[31m.png": "NOT_AN_IMAGE",
        r"\x1b[2J/0.png": "BAD_CLASS_NAME",
    }
    texts = [*(f.path + f.message for f in dataset.rejected_files), *dataset.warnings]
    assert any(r"evil\u202egnp" in text for text in texts)
    assert not any("\x1b" in text or "\u202e" in text for text in texts)


def test_links_are_followed_where_the_user_says_so_and_the_gateway_may_read(tmp_path):
    photos = write_folder(tmp_path / "photos", classes=("cat", "dog", "fox"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes(picture("x"))
    root = tmp_path / "subset"
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "0.png").symlink_to(photos / "cat" / "0.png")
    (root / "cat" / "x.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (root / "cat" / "nothing.png").symlink_to(photos / "nothing.png")
    (root / "dog").symlink_to(photos / "dog")
    (root / "cat" / "round").symlink_to(root)

    dataset, items, _ = take(root, root=tmp_path, follow_links=True)
    assert sorted(item.source for item in items) == [
        "cat/0.png", "cat/x.png", "dog/0.png", "dog/1.png", "dog/2.png",
    ]  # fmt: skip
    assert reasons(dataset) == {"cat/nothing.png": "BAD_LINK", "cat/round": "BAD_LINK"}


def test_no_link_leads_out_of_the_folders_that_the_gateway_may_read(tmp_path):
    root = write_folder(tmp_path / "allowed" / "set")
    secret = write_folder(tmp_path / "secret", tag="secret")
    (root / "cat" / "secret.png").symlink_to(secret / "cat" / "0.png")
    (root / "fox").symlink_to(secret / "dog")
    dataset, items, _ = take(root, root=tmp_path / "allowed", follow_links=True)
    assert reasons(dataset) == {"cat/secret.png": "OUTSIDE_ROOT", "fox": "OUTSIDE_ROOT"}
    assert len(items) == 6
    assert "may import from" in dataset.rejected_files[0].message


def test_links_that_are_left_out_name_the_option(tmp_path):
    root = write_folder(tmp_path / "set")
    write_folder(tmp_path / "more", classes=("fox",))
    (root / "fox").symlink_to(tmp_path / "more" / "fox")
    dataset, _, _ = take(root, root=tmp_path)
    [file] = dataset.rejected_files
    assert (file.path, file.reason) == ("fox", "OUTSIDE_ROOT")
    assert "--follow-links" in file.message
