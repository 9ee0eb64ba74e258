"""Models of an S3 server, fetched from a real one."""

import hashlib
import io
import json
import threading
from dataclasses import replace

import pytest

from gateway.cli.weights import download, fetching
from gateway.cli.weights.fetching import await_all, fetch, missing
from gateway.cli.weights.staging import alone
from gateway.cli.weights.wanted import WantedModel
from servicekit.errors import Exhausted, NotFound, Precondition, Unavailable
from tests.gateway.cli.weights.hub import safetensors
from tests.seaweed import BUCKET, CREDENTIALS
from tests.small_disk import grow

pytestmark = pytest.mark.servers
MODEL = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": safetensors(200_000)}
PICKLE = {"open_clip_pytorch_model.bin": b"PK pickled"}


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def upload(seaweed, monkeypatch, request):
    """Puts a model under a prefix of its own and returns the model for it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    client = seaweed.client()

    def put(files, sums=None, version="1"):
        prefix = f"{request.node.name}/{version}"
        lines = "".join(f"{digest(data)}  ./{name}\n" for name, data in files.items())
        sums = lines.encode() if sums is None else sums
        for name, data in {**files, "SHA256SUMS": sums}.items():
            if data:
                client.put_object(BUCKET, f"{prefix}/{name}", io.BytesIO(data), len(data))
        return WantedModel("clip", seaweed.url.replace("?", f"/{prefix}?"))

    return put


@pytest.fixture
def said():
    return []


def test_a_model_comes_whole_and_a_second_run_reads_it_and_fetches_nothing(upload, said, tmp_path):
    model = upload(MODEL | PICKLE)
    made = fetch(model, tmp_path, said.append)
    place = tmp_path / "clip"
    assert {path.name for path in place.iterdir()} == {*MODEL, "SHA256SUMS", ".fetched"}
    assert made.digest == digest((place / "SHA256SUMS").read_bytes())
    assert made.fetched_bytes == sum(map(len, MODEL.values()))
    again = fetch(replace(model, digest=made.digest), tmp_path, said.append)
    assert again == replace(made, fetched_bytes=0)
    assert said[-1] == "clip: is complete; nothing to fetch"


def test_a_damaged_file_is_found_and_it_alone_comes_anew(upload, said, tmp_path):
    model = upload(MODEL)
    fetch(model, tmp_path, said.append)
    file = tmp_path / "clip/open_clip_config.json"
    file.write_bytes(b"[]")  # Of the same size.
    assert fetch(model, tmp_path, said.append).fetched_bytes == 2
    assert file.read_bytes() == b"{}"
    assert "clip: open_clip_config.json damaged or missing; fetching them again" in said


def test_a_part_of_another_version_is_given_up_for_the_wanted_one(upload, said, tmp_path):
    model = upload(MODEL)
    part = tmp_path / ".fetch/clip/open_clip_model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    (part.parent / "of_another.json").write_text("{}")
    fetch(model, tmp_path, said.append)
    place = tmp_path / "clip"
    assert (place / "open_clip_model.safetensors").read_bytes() == MODEL[part.stem]
    assert not (place / "of_another.json").exists()
    assert any("is not what its digest says; fetching it again" in line for line in said)


def test_another_version_takes_the_place_of_one_that_was_whole_until_then(upload, said, tmp_path):
    fetch(upload(MODEL), tmp_path, said.append)
    broken = upload({**MODEL, "open_clip_config.json": b'{"v": 2}'}, b"", version="2")
    with pytest.raises(Precondition, match=r"does not say what open_clip_config\.json should be"):
        fetch(broken, tmp_path, said.append)
    assert (tmp_path / "clip/open_clip_config.json").read_bytes() == b"{}"
    new = upload({**MODEL, "open_clip_config.json": b'{"v": 2}'}, version="2")
    assert missing([new], tmp_path) == ["clip"]
    fetch(new, tmp_path, said.append)
    assert (tmp_path / "clip/open_clip_config.json").read_bytes() == b'{"v": 2}'
    assert missing([new], tmp_path) == []


@pytest.mark.parametrize("had_another", [False, True])
def test_a_run_that_was_killed_just_before_the_last_rename_is_ended_by_the_next(
    upload, said, tmp_path, had_another
):
    model = upload(MODEL)
    fetch(model, tmp_path, said.append)
    stage = tmp_path / ".fetch/clip"
    stage.parent.mkdir(exist_ok=True)
    (tmp_path / "clip").rename(stage)
    if had_another:
        (stage.parent / ".clip.old").mkdir()
    assert fetch(model, tmp_path, said.append).fetched_bytes == 0
    assert missing([model], tmp_path) == []


def test_digests_may_be_in_the_list_and_wrong_ones_are_named(upload, said, tmp_path):
    model = upload(MODEL, b"")
    right = {name: digest(data) for name, data in MODEL.items()}
    wrong = {**right, "open_clip_config.json": "0" * 64}
    with pytest.raises(Precondition, match=f"and not {'0' * 64}, twice in a row"):
        fetch(replace(model, digests=wrong), tmp_path, said.append)
    with pytest.raises(Precondition, match=r"has no wanted file absent\.json"):
        fetch(replace(model, digests={"absent.json": "0" * 64}), tmp_path, said.append)
    assert not (tmp_path / "clip").exists()
    fetch(replace(model, digests=right), tmp_path, said.append)


def test_what_was_not_uploaded_whole_is_not_fetched(upload, said, tmp_path):
    sums = f"{'0' * 64}  vocab.txt\n{digest(b'{}')}  open_clip_config.json\n".encode()
    with pytest.raises(NotFound, match=r"names vocab\.txt, which is not there; upload it"):
        fetch(upload(MODEL, sums), tmp_path, said.append)
    absent = WantedModel("clip", upload(MODEL).source.replace("/1?", "/9?"))
    with pytest.raises(NotFound, match=r"nothing below .*/9/ in the bucket"):
        fetch(absent, tmp_path, said.append)


def test_a_full_disk_is_told_before_and_gone_on_with_after_it_has_grown(upload, said, small_disk):
    folder = small_disk(100)
    model = upload(MODEL)
    with pytest.raises(Exhausted, match="enlarge the volume, and run the same command again"):
        fetch(model, folder, said.append)
    assert not (folder / "clip").exists()
    grow(folder, 1000)
    fetch(model, folder, said.append)
    assert missing([model], folder) == []


def test_a_disk_that_fills_up_in_the_middle_keeps_what_has_come(
    upload, said, small_disk, monkeypatch
):
    folder = small_disk(100)
    model = upload(MODEL)
    monkeypatch.setattr(fetching, "_check_room", lambda *_: None)
    with pytest.raises(Exhausted, match=r"open_clip_model\.safetensors has [0-9,]+ bytes"):
        fetch(model, folder, said.append)
    held = (folder / ".fetch/clip/open_clip_model.safetensors.part").stat().st_size
    grow(folder, 1000)
    assert held > 0 and fetch(model, folder, said.append).fetched_bytes <= 200_100 - held


def test_a_server_that_is_gone_ends_the_run_with_its_address(said, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MOST_LOSSES", 2)
    source = "s3://variegate/clip?endpoint=127.0.0.1:9&secure=false"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*check that its server runs"):
        fetch(WantedModel("clip", source), tmp_path, said.append)


def test_a_folder_that_somebody_else_made_is_left_alone(upload, said, tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/own.safetensors").write_text("mine")
    with pytest.raises(Precondition, match="was not fetched by this command; move it away"):
        fetch(upload(MODEL), tmp_path, said.append)
    assert (tmp_path / "clip/own.safetensors").read_text() == "mine"


def test_who_waits_says_for_what_and_goes_on_once_it_is_there(upload, said, tmp_path):
    model = upload(MODEL)
    waiting = threading.Thread(target=await_all, args=((model,), tmp_path, said.append, 0.02))
    waiting.start()
    while not said:
        assert waiting.is_alive()
    assert said == [f"waiting for clip in {tmp_path}: not fetched yet"]
    fetch(model, tmp_path, said.append)
    waiting.join(10)
    assert not waiting.is_alive()


def test_two_runs_do_not_get_in_each_others_way(said, tmp_path):
    done = []

    def second():
        with alone(tmp_path, said.append):
            done.append("second")

    with alone(tmp_path, said.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            assert thread.is_alive()
        assert said == [f"another run is at work in {tmp_path}; waiting for it"] and not done
    thread.join(10)
    assert done == ["second"]


def test_a_record_that_is_damaged_is_no_record(upload, said, tmp_path):
    model = upload(MODEL)
    fetch(model, tmp_path, said.append)
    (tmp_path / "clip/.fetched").write_text(json.dumps({"files": []}))
    assert missing([model], tmp_path) == ["clip"]
