"""Outputs joined, and folders of other tools: what is taken, what is refused, what is said."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gateway.cli.review.log import Decision, Entry, ReviewLog
from servicekit.storage import DirectoryStore, to_uri
from tests.gateway.cli.outputs import write_output
from tests.gateway.cli.trained import trained_on


def rows_of(folder):
    return pq.read_table(folder / "manifest.parquet").to_pylist()


def pictures(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.fixture
def two(tmp_path):
    """Two outputs that share nothing: images of cat and dog, and of cat and eel."""
    first = write_output(tmp_path / "a", counts={"cat": 3, "dog": 2})
    second = write_output(tmp_path / "b", counts={"cat": 2, "eel": 2}, first=100)
    return first, second


def test_classes_are_united_and_every_row_keeps_its_lineage(variegate, two, tmp_path):
    answer = variegate("merge", *two, "--out", "c", "--json")
    assert answer.code == 0, answer.err
    rows = rows_of(tmp_path / "c")
    assert answer.document["image_count"] == len(rows) == 9
    assert answer.document["is_renumbered"], "both number their second class 1"
    assert {row["class_name"]: row["label"] for row in rows} == {"cat": 0, "dog": 1, "eel": 2}
    before = {row["item_id"]: row for place in two for row in rows_of(place)}
    for row in rows:
        own = before[row["item_id"]]
        kept = ("lineage", "parents", "parent_files", "seed", "sha256", "clip_score", "method")
        assert [row[name] for name in kept] == [own[name] for name in kept]
    assert {row["merged_from"] for row in rows} == {str(place) for place in two}
    assert pictures(tmp_path / "c") == sorted(row["file_name"] for row in rows)
    assert len((tmp_path / "c" / "lineage.jsonl").read_text().splitlines()) == 9


def test_equal_files_are_taken_once_and_counted(variegate, two, tmp_path):
    shutil.copytree(two[0], tmp_path / "again")
    answer = variegate("merge", two[0], tmp_path / "again", "--out", "c", "--json")
    counts = [(one["used_count"], one["copy_count"]) for one in answer.document["sources"]]
    assert counts == [(5, 0), (0, 5)]
    text = variegate("merge", two[0], tmp_path / "again", "--out", "d").out
    assert "5 copies of others left out" in " ".join(text.split())


def test_another_picture_of_the_same_id_gets_a_name_of_its_own(variegate, two, tmp_path):
    other = write_output(tmp_path / "other", counts={"cat": 1}, first=200, ids_from=0)
    answer = variegate("merge", two[0], other, "--out", "c", "--json")
    assert answer.document["renamed_count"] == 1
    rows = rows_of(tmp_path / "c")
    assert len({row["item_id"] for row in rows}) == len(pictures(tmp_path / "c")) == 6


def test_what_people_changed_by_hand_and_rejected_counts(variegate, two, tmp_path):
    first = two[0]
    rows = rows_of(first)
    (first / rows[0]["file_name"]).rename(first / "dog" / "moved.png")
    (first / rows[1]["file_name"]).unlink()
    log = ReviewLog(first)
    log.decide(Entry(rows[2]["sha256"], rows[2]["item_id"], "cat", Decision.REJECTED))
    answer = variegate("merge", first, "--out", "c", "--json")
    [source] = answer.document["sources"]
    names = ("used_count", "moved_count", "missing_count", "rejected_count")
    assert [source[name] for name in names] == [3, 1, 1, 1]
    assert {row["class_name"] for row in rows_of(tmp_path / "c")} == {"dog"}


def test_an_image_of_two_classes_is_refused_and_nothing_is_written(variegate, two, tmp_path):
    other = write_output(tmp_path / "other", counts={"wolf": 3})
    shutil.rmtree(other / "wolf")
    shutil.copytree(two[0] / "cat", other / "wolf")
    table = pq.read_table(other / "manifest.parquet")
    digests = [row["sha256"] for row in rows_of(two[0])[:3]]
    at = table.schema.get_field_index("sha256")
    pq.write_table(table.set_column(at, "sha256", pa.array(digests)), other / "manifest.parquet")
    answer = variegate("merge", two[0], other, "--out", "c")
    assert answer.code == 3 and "is 'wolf' there and 'cat' in" in " ".join(answer.err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "other"]


def test_one_name_for_two_meanings_is_refused(variegate, tmp_path):
    places = [
        write_output(
            tmp_path / sense, counts={"crane": 2}, first=50 * n,
            lineage=json.dumps({"sense": {"sense": sense}}),
        )
        for n, sense in enumerate(("crane.n.04", "crane.n.05"))
    ]  # fmt: skip
    answer = variegate("merge", *places, "--out", "c")
    assert answer.code == 3
    said = " ".join(answer.err.split())
    assert "The class 'crane' means 'crane.n.04' in" in said and "--param senses" in said
    assert not (tmp_path / "c").exists()


def test_shards_are_merged_and_written(variegate, two, tmp_path):
    shards = write_output(tmp_path / "s", counts={"cat": 2}, first=300, is_sharded=True)
    answer = variegate("merge", two[0], shards, "--out", "c", "--format", "webdataset")
    assert answer.code == 0, answer.err
    assert [path.name for path in (tmp_path / "c").glob("*.tar")] == ["000000.tar"]
    assert variegate("merge", tmp_path / "c", "--out", "d", "--json").document["image_count"] == 7


def test_a_folder_that_is_there_is_refused_or_replaced_as_a_whole(variegate, two, tmp_path):
    assert variegate("merge", two[0], "--out", "c").code == 0
    assert variegate("merge", two[0], "--out", "c").code == 3
    assert variegate("merge", two[1], "--out", "c", "--overwrite").code == 0
    assert {row["class_name"] for row in rows_of(tmp_path / "c")} == {"cat", "eel"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert variegate("merge", two[0], "--out", "mine", "--overwrite").code == 3
    assert [path.name for path in tmp_path.glob(".*")] == []


SLOW = """
import os, signal, sys
import gateway.export.formats.image_folder as formats
write, count = formats.write_file, 0
def killed(path, data):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)
formats.write_file = killed
from gateway.cli.main import main
main(sys.argv[1:])
"""


def test_a_merge_that_is_killed_leaves_nothing_in_its_place_and_the_next_is_whole(
    variegate, two, tmp_path
):
    command = [sys.executable, "-c", SLOW, "merge", *map(str, two), "--out", "c"]
    killed = subprocess.run(command, cwd=tmp_path, env=os.environ, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "c").exists()
    assert variegate("merge", *two, "--out", "c").code == 0
    assert len(rows_of(tmp_path / "c")) == len(pictures(tmp_path / "c")) == 9
    assert [path.name for path in tmp_path.glob(".*")] == []


def put_foreign(gateway, store, classes=("cat", "dog [x]")):
    """The manifest of the dataset as which a folder is imported: an image of each class."""
    rows = []
    for number, name in enumerate(classes):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (7, 7, 40 * number)).save(buffer, "PNG")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        key = f"images/foreign{number}.png"
        store.put(key, buffer.getvalue())
        rows.append(
            {"item_id": f"f{number}", "image_uri": to_uri(key), "sha256": digest,
             "label": number, "class_name": name, "split": "train", "source": f"{name}/1.png"}
        )  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.put("foreign/manifest.parquet", buffer.getvalue())
    gateway.manifests = {"theirs": to_uri("foreign/manifest.parquet")}


@pytest.fixture
def theirs(photos, tmp_path):
    """A folder of another tool: class folders without a manifest."""
    return shutil.copytree(photos, tmp_path / "theirs")


@pytest.fixture
def system(made):
    return made


def test_a_folder_of_another_tool_is_trained_on_and_marked(
    variegate, gateway, system, photos, theirs, tmp_path
):
    variegate("augment", photos, "--out", "new", *system)
    put_foreign(gateway, DirectoryStore(tmp_path / "objects"))
    both = ["--synthetic", "new", "--synthetic", theirs, "--seeds", 1]
    command = ["train", photos, "--test", photos, *both, *system, "--trainer", gateway.target]
    answer = variegate(*command, "--json")
    assert answer.code == 0, answer.err
    own, other = answer.document["synthetic"]
    assert (own["is_external"], own["used_count"]) == (False, 4)
    assert (other["is_external"], other["used_count"]) == (True, 2)
    used = trained_on(gateway, tmp_path)
    assert [row["source"] for row in used] == ["generated"] * 4 + ["external"] * 2
    assert {row["class_name"]: row["label"] for row in used} == {"cat": 0, "dog [x]": 1}
    assert "has no lineage" in " ".join(answer.err.split())
    assert "(external: no lineage)" in " ".join(variegate(*command).out.split())


def test_classes_that_the_training_images_lack_are_refused(
    variegate, gateway, system, photos, theirs, tmp_path
):
    put_foreign(gateway, DirectoryStore(tmp_path / "objects"), classes=("cat", "wolf"))
    command = ["train", photos, "--test", photos, "--synthetic", theirs, *system]
    answer = variegate(*command, "--trainer", gateway.target)
    assert answer.code == 3
    assert "classes that the training images lack: wolf" in " ".join(answer.err.split())


def test_originals_go_in_on_wish_and_are_not_trained_on_twice(
    variegate, gateway, system, photos, theirs, tmp_path
):
    variegate("augment", photos, "--out", "new", *system)
    put_foreign(gateway, DirectoryStore(tmp_path / "objects"))
    answer = variegate("merge", "new", "--with-originals", theirs, "--out", "c", *system, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["kinds"] == {"generated": 4, "original": 2}
    rows = rows_of(tmp_path / "c")
    assert {row["source"] for row in rows} == {"generated", "original"}
    assert len(pictures(tmp_path / "c")) == 6
    command = ["train", photos, "--test", photos, "--synthetic", "c", "--seeds", 1, *system]
    answer = variegate(*command, "--trainer", gateway.target, "--json")
    assert answer.code == 0, answer.err
    [source] = answer.document["synthetic"]
    assert (source["used_count"], source["original_count"]) == (4, 2)
