"""What the other commands make of a review."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.cli.review.log import Decision, ReviewLog, reviewing
from gateway.cli.review.record import record
from tests.gateway.cli.trained import trained_on


@pytest.fixture
def system(made):
    return made


def reject(folder, count=1):
    log = ReviewLog(folder)
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()[:count]
    from gateway.cli.review.log import Entry

    for row in rows:
        log.decide(Entry(row["sha256"], row["item_id"], row["class_name"], Decision.REJECTED))
    return rows


def test_train_leaves_rejected_images_out_and_says_how_many(
    variegate,
    gateway,
    system,
    photos,
    tmp_path,
):
    variegate("augment", photos, "--out", "new", *system)
    [row] = reject(tmp_path / "new")
    command = ["train", photos, "--test", photos, "--synthetic", "new", "--seeds", 1, *system]
    answer = variegate(*command, "--trainer", gateway.target)
    assert answer.code == 0, answer.err
    assert "1 that a person rejected left out" in " ".join(answer.out.split())
    used = {one["sha256"] for one in trained_on(gateway, tmp_path)}
    assert len(used) == 3 and row["sha256"] not in used


def test_the_same_command_replaces_what_was_rejected_and_only_that(
    variegate,
    gateway,
    system,
    photos,
    tmp_path,
):
    command, new = ["augment", photos, "--out", "new", *system], tmp_path / "new"
    variegate(*command)
    first = gateway.requests[-1]
    assert variegate(*command).code == 3, "nothing is rejected"
    [row] = reject(new)
    other = pq.read_table(new / "manifest.parquet").to_pylist()[3]
    (new / other["file_name"]).rename(new / "cat" / "corrected.png")
    answer = variegate(*command)
    assert answer.code == 0, answer.err
    assert "1 images that a person rejected are replaced" in answer.err
    second = gateway.requests[-1]
    assert second.augmentation_id != first.augmentation_id
    uri = second.augmentation.rejections_uri
    listed = pq.read_table(tmp_path / "objects" / uri.removeprefix("store:"))
    assert listed.to_pydict() == {"item_id": [row["item_id"]]}
    assert not (new / other["file_name"]).exists(), "what was moved stays where a person put it"
    assert "review" in pq.read_table(new / "manifest.parquet").column_names
    assert variegate(*command).code == 3, "all that is rejected is replaced"
    assert variegate(*command, "--resume").code == 0
    assert gateway.requests[-1] == second
    answer = variegate(*command, "--overwrite")
    assert "1 decisions of a review are deleted" in " ".join(answer.err.split())
    assert not gateway.requests[-1].augmentation.rejections_uri


def test_an_output_under_review_is_not_replaced_and_a_preview_keeps_its_decisions(
    variegate,
    gateway,
    system,
    photos,
    tmp_path,
):
    command = ["augment", photos, "--out", "new", *system]
    variegate(*command, "--preview", 2)
    reject(tmp_path / "new")
    with reviewing(tmp_path / "new"):
        answer = variegate(*command)
    assert answer.code == 3 and "is being reviewed" in answer.err
    assert variegate(*command).code == 0
    assert gateway.requests[-1].augmentation.rejections_uri


def test_recorded_decisions_change_no_other_column(output):
    before = pq.read_table(output / "manifest.parquet")
    assert not record(output), "nothing was decided"
    reject(output, 2)
    assert record(output) and not record(output)
    after = pq.read_table(output / "manifest.parquet")
    assert after.drop_columns(["review"]) == before
    assert after.schema.field("review").type == pa.string()
    assert [path.name for path in Path(output).glob(".*")] == []
