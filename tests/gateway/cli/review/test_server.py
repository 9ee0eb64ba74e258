"""The HTTP of a review's page: what it shows, in which order, and what it refuses."""

import json
import re

import pytest
from PIL import Image

from gateway.cli.review.desk import Desk
from gateway.cli.review.log import LOG
from tests.gateway.cli.outputs import write_output
from tests.gateway.cli.review.visiting import serving


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
