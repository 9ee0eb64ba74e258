"""Files of variegate itself that a crash, a full disk or a hand has damaged."""

import fcntl

import pytest

from gateway.cli.failures import CliError
from gateway.cli.outputs import MARKER
from gateway.cli.records import record
from gateway.cli.references import closure
from gateway.cli.running import make_lock

DAMAGED = [b"", b"x", b"[1]", b"{}", b"\xff\xfe"]


@pytest.fixture
def made(gateway, tmp_path):
    return ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri()]


@pytest.mark.parametrize("damage", DAMAGED)
def test_an_output_whose_marker_is_damaged_is_left_alone(variegate, photos, tmp_path, damage):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / MARKER).write_bytes(damage)
    answer = variegate("augment", photos, "--out", "new")
    assert answer.code == 3
    assert "another --out" in answer.err
    assert (tmp_path / "new" / MARKER).read_bytes() == damage


@pytest.mark.parametrize("damage", DAMAGED)
def test_clean_frees_nothing_while_a_note_is_damaged(variegate, tmp_path, damage):
    state = tmp_path / ".variegate"
    record(state, "datasets/pets/augmentations/mvc-1", tmp_path / "gone")
    make_lock(state)
    (state / "objects").mkdir()
    [note] = (state / "outputs").iterdir()
    note.write_bytes(damage)
    answer = variegate("clean", "--yes", "--json")
    assert answer.code == 3
    error = answer.document["error"]
    assert note.name in error["message"] and "Delete that file" in error["remedy"]
    note.unlink()
    assert variegate("clean", "--yes").code == 0


def test_clean_names_a_damaged_object_and_frees_nothing(tmp_path):
    objects = tmp_path / "objects"
    objects.mkdir()
    (objects / "made.parquet").write_bytes(b"PAR1")
    with pytest.raises(CliError, match=r"made\.parquet is damaged") as caught:
        closure(objects, ["made.parquet"], lambda key: (objects / key).exists())
    assert caught.value.exit_code == 3 and "Move that file away" in caught.value.remedy


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_manifest_is_named_before_it_is_trained_on(
    variegate, gateway, made, photos, tmp_path, damage
):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "manifest.parquet").write_bytes(damage)
    command = ["train", photos, "--test", photos, "--synthetic", "new"]
    answer = variegate(*command, "--trainer", gateway.target, *made)
    assert answer.code == 3
    assert "new/manifest.parquet cannot be read" in answer.err


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_note_of_the_running_system_is_as_none(variegate, tmp_path, damage):
    state = tmp_path / ".variegate"
    state.mkdir()
    (state / "system.json").write_bytes(damage)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("1")
        lock.flush()
        answer = variegate("status")
    assert answer.code == 4
    assert "starting, or ending" in answer.err
    assert "No system is running" in variegate("status").err


def test_images_that_variegate_made_are_not_silently_taken_for_real(variegate, made, photos):
    (photos / MARKER).write_text('{"run": "mvc-1", "state": "finished"}')
    answer = variegate("augment", photos, "--out", "new", *made)
    assert "was made by variegate; its images count as real here" in answer.err
