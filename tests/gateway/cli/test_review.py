"""A review: its decisions on the disk, its page's HTTP, and what the other commands make of it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gateway.cli.failures import CliError
from gateway.cli.review.desk import Desk
from gateway.cli.review.log import LOG, Decision, ReviewLog, read_review, reviewing
from gateway.cli.review.record import record
from gateway.cli.review.server import ReviewServer
from tests.gateway.cli.outputs import write_output
from tests.gateway.cli.test_train_command import trained_on


@pytest.fixture
def system(made):
    return made


@pytest.fixture
def output(tmp_path):
    return write_output(tmp_path / "made", counts={"cat": 5, "dog": 3})


@contextmanager
def serving(folder, originals=None):
    desk = Desk(folder, folder / "manifest.parquet", originals)
    server = ReviewServer(desk)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Client(server.url)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Client:
    """A browser without a page."""

    def __init__(self, url):
        self.url = urlsplit(url)

    def ask(self, place, body=None, path=None, **headers):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=10)
        data = None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json"} if data else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if body is None else "POST"
        connection.request(method, path or f"{self.url.path}{place}", data, given)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer, found

    def json(self, place, body=None):
        answer, found = self.ask(place, body)
        return answer.status, json.loads(found)

    def decide(self, number, decision):
        return self.json("api/decide", {"number": number, "decision": decision})


def decisions(folder):
    return {entry.item_id: entry.decision.value for entry in read_review(folder).newest.values()}


def test_images_come_class_by_class_with_the_worst_first_and_a_page_at_a_time(output):
    with serving(output) as page:
        status, first = page.json("api/images?count=4&score=clip_score")
        after = first["images"][-1]["number"]
        _, second = page.json(f"api/images?count=60&score=clip_score&after={after}")
    images = first["images"] + second["images"]
    assert status == 200 and first["total"] == 8 and len(images) == 8
    keys = [(one["class"], one["scores"].get("clip_score", 9.0)) for one in images]
    assert keys == sorted(keys)
    assert "clip_score" not in images[4]["scores"], "what has no score comes last in its class"


def test_a_high_unsafe_score_is_the_worst_and_filters_take_class_decision_and_score(output):
    with serving(output) as page:
        _, found = page.json("api/images?class=0&score=unsafe_score")
        scores = [one["scores"]["unsafe_score"] for one in found["images"]]
        assert scores == sorted(scores, reverse=True) and len(scores) == 5
        _, some = page.json("api/images?score=unsafe_score&least=0.15&most=0.35&class=0")
        assert {round(one["scores"]["unsafe_score"], 1) for one in some["images"]} == {0.2, 0.3}
        page.decide(found["images"][0]["number"], "rejected")
        _, rejected = page.json("api/images?decision=rejected")
        assert [one["number"] for one in rejected["images"]] == [found["images"][0]["number"]]
        _, summary = page.json("api/summary")
    assert summary["counts"] == {"open": 7, "accepted": 0, "rejected": 1}
    assert summary["classes"][0] == {"name": "cat", "open": 4, "accepted": 0, "rejected": 1}


def test_a_decision_is_on_the_disk_when_it_is_answered_and_undo_takes_back_the_last(output):
    with serving(output) as page:
        page.decide(1, "rejected")
        assert [*decisions(output).values()] == ["rejected"]
        page.decide(2, "accepted")
        page.decide(1, "accepted")
        status, undone = page.json("api/undo", {})
        assert status == 200 and undone["number"] == 1 and undone["decision"] == "rejected"
    with serving(output) as page:  # Another session undoes what is left.
        assert page.json("api/undo", {})[1]["number"] == 2
        assert page.json("api/undo", {})[1]["number"] == 1
        assert page.json("api/undo", {}) == (200, {})
    assert {*decisions(output).values()} == {"open"}
    assert len((output / LOG).read_text().splitlines()) == 6, "nothing is ever taken out"


def test_what_a_killed_process_half_wrote_was_never_decided(output):
    with serving(output) as page:
        page.decide(1, "rejected")
        page.decide(2, "rejected")
    whole = (output / LOG).read_bytes()
    (output / LOG).write_bytes(whole[:-7])
    assert len(read_review(output).rejected) == 1
    with serving(output) as page:
        page.decide(3, "accepted")
    assert sorted(decisions(output).values()) == ["accepted", "rejected"]
    (output / LOG).write_bytes(b"{}\n" + whole)
    with pytest.raises(CliError, match=r"Line 1 of .* is damaged"):
        read_review(output)


def test_every_decision_that_was_answered_survives_kill_9(output):
    command = [sys.executable, "-m", "gateway.cli.main", "review", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        page = Client(address_in(process.stderr))
        for number in range(1, 9):
            assert page.decide(number, "rejected" if number % 2 else "accepted")[0] == 200
        process.kill()
    assert sorted(decisions(output).values()) == ["accepted"] * 4 + ["rejected"] * 4
    assert record(output), "the next who comes writes them into the manifest"
    column = pq.read_table(output / "manifest.parquet").column("review").to_pylist()
    assert column == ["rejected", "accepted"] * 4


def address_in(lines):
    for line in lines:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError("no address was told")


@pytest.mark.parametrize("end", ["page", "signal"])
def test_the_command_ends_from_the_page_and_by_a_signal_and_tells_the_counts(output, end):
    command = [sys.executable, "-m", "gateway.cli.main", "review", str(output), "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        page = Client(address_in(process.stderr))
        page.decide(2, "rejected")
        if end == "page":
            assert page.json("api/finish", {})[0] == 200
        else:
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out) == {"folder": str(output), "open": 7, "accepted": 0, "rejected": 1}
    record(output)  # A signal leaves a second, which may be too little: the next command does it.
    table = pq.read_table(output / "manifest.parquet")
    assert table.column("review").to_pylist() == [None, "rejected", *[None] * 6]


def test_details_show_lineage_and_parents_and_never_a_file_elsewhere(output, tmp_path):
    originals = tmp_path / "photos"
    (originals / "cat").mkdir(parents=True)
    Image.new("RGB", (6, 6), "red").save(originals / "cat" / "a.png")
    Image.new("RGB", (6, 6), "blue").save(tmp_path / "secret.png")
    files = [["cat/a.png", "../secret.png", str(tmp_path / "secret.png"), ""]]
    write_output(output, counts={"cat": 1}, parent_files=files, lineage='{"lambda": 0.5}')
    with serving(output, originals) as page:
        _, found = page.json("details/1")
        assert [one["is_there"] for one in found["parents"]] == [True, False, False, False]
        assert found["facts"]["lineage"] == {"lambda": 0.5}
        assert found["facts"]["seed"] == str(2**64 - 1), "no browser rounds a seed"
        answer, data = page.ask("parent/1/0")
        assert answer.status == 200 and data.startswith(b"\x89PNG")
        assert [page.ask(f"parent/1/{n}")[0].status for n in (1, 2, 3, 4)] == [404] * 4
    with serving(output) as page:
        assert page.ask("parent/1/0")[0].status == 404


def test_pictures_are_shown_from_folders_shards_and_where_a_person_moved_them(output, tmp_path):
    from gateway.cli.review.pictures import Pictures

    Image.new("RGB", (600, 300), "red").save(output / "cat" / "item0.png")
    (output / "cat" / "item1.png").rename(output / "dog" / "item1.png")
    (output / "cat" / "item2.png").write_bytes(b"no picture")
    (output / "cat" / "item3.png").unlink()
    with serving(output) as page:
        answers = [page.ask(f"thumb/{number}") for number in (1, 2, 3, 4, 99)]
    assert [answer.status for answer, _ in answers] == [200, 200, 404, 404, 404]
    assert answers[0][1].startswith(b"\xff\xd8"), "a large picture is made small"
    shards = write_output(tmp_path / "shards", counts={"cat": 2}, is_sharded=True)
    desk = Desk(shards, shards / "manifest.parquet", None)
    assert isinstance(desk.pictures, Pictures)
    with serving(shards) as page:
        assert page.ask("image/2")[0].status == 200


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"path": "/"}, 404),
        ({"path": "/wrong/api/summary"}, 404),
        ({"Host": "evil.example:80"}, 403),
        ({"place": "../../etc/passwd"}, 404),
        ({"place": "thumb/-1"}, 404),
        ({"place": "thumb/99999999999999999999999"}, 404),
        ({"place": "api/images?score=odd"}, 400),
        ({"place": "api/images?least=nan"}, 400),
        ({"place": "api/images?class=x"}, 400),
        ({"place": "api/decide", "body": {"number": "1", "decision": "rejected"}}, 400),
        ({"place": "api/decide", "body": {"number": True, "decision": "rejected"}}, 400),
        ({"place": "api/decide", "body": {"number": 1, "decision": "maybe"}}, 400),
        ({"place": "api/decide", "body": {"number": 77, "decision": "rejected"}}, 404),
        ({"place": "api/decide", "body": [1]}, 400),
        ({"place": "api/decide", "body": {"n": "x" * 5000}}, 413),
        ({"place": "api/undo", "body": {}, "Content_Type": "text/plain"}, 415),
    ],
)
def test_strangers_and_nonsense_are_refused_with_a_sentence(output, how, status):
    with serving(output) as page:
        answer, found = page.ask(**{"place": "api/summary", **how})
        assert answer.status == status, found
        assert json.loads(found)["error"].endswith(".")
        assert page.json("api/summary")[0] == 200
    assert not (output / LOG).exists()


def test_the_page_loads_nothing_from_elsewhere_and_no_other_page_may_show_it(output):
    with serving(output) as page:
        for place in ("", "review.css", "review.js"):
            answer, data = page.ask(place)
            assert answer.status == 200
            assert not re.search(rb"(https?:)?//[a-z0-9.-]+\.[a-z]", data.replace(b"// ", b""))
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_one_output_is_reviewed_once_at_a_time(output, variegate):
    with reviewing(output):
        answer = variegate("review", output)
    assert answer.code == 3 and "is being reviewed" in answer.err


def test_what_is_no_output_is_refused(variegate, photos):
    answer = variegate("review", photos)
    assert answer.code == 3 and "is not an output of `variegate augment`" in answer.err


def test_a_decision_that_cannot_be_written_is_not_taken(output, monkeypatch):
    def full(place):
        raise OSError(28, "No space left on device")

    with serving(output) as page:
        page.decide(1, "accepted")
        monkeypatch.setattr(os, "fsync", full)
        status, answer = page.decide(2, "rejected")
        monkeypatch.undo()
        assert status == 507 and "No space left" in answer["error"]
        assert page.json("api/summary")[1]["counts"]["rejected"] == 0
        assert page.decide(3, "rejected")[0] == 200
    assert sorted(decisions(output).values()) == ["accepted", "rejected"]


def test_many_images_are_paged_and_no_page_holds_all(tmp_path):
    folder = write_output(tmp_path / "many", counts={"a": 15_000, "b": 15_000}, is_empty=True)
    desk = Desk(folder, folder / "manifest.parquet", None)
    seen, after = 0, None
    from gateway.cli.review.catalogue import Query

    for _ in range(3):
        found = desk.images(Query(after=after, count=10_000))
        assert len(found["images"]) == 200 and found["total"] == 30_000
        after, seen = found["images"][-1]["number"], seen + 200
    last = desk.images(Query(class_number=1, count=60, least=0.9))
    assert all(one["class_name"] == "b" for one in last["images"])
    assert desk.details(29_999)["number"] == 29_999


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
