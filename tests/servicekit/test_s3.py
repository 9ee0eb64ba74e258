"""The S3 store against a real S3 server: faults on the way, refusals, large objects, links."""

import os
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import minio.time
import pytest
from tests_ports import free_port

from servicekit.errors import InvalidArgument, NotFound, Precondition, Unavailable
from servicekit.storage import open_store
from servicekit.storage.s3 import S3Store
from tests.seaweed import BUCKET, CREDENTIALS, READER, Seaweed
from tests.servicekit.faulty_proxy import proxied

pytestmark = [pytest.mark.servers, pytest.mark.heavy]


def behind(proxy, **options):
    values = {"endpoint": proxy.endpoint, "secure": "false", **options}
    return S3Store.from_options(BUCKET, values, CREDENTIALS)


@pytest.mark.parametrize("fault", ["reset", "busy"])
def test_what_passes_is_tried_again(seaweed, fault):
    with proxied(seaweed.endpoint, [fault] * 2) as proxy:
        assert behind(proxy).put(f"again/{fault}", b"pixels")
        assert proxy.connections == 3
    assert seaweed.store().get(f"again/{fault}") == b"pixels"


def test_a_body_cut_off_in_the_middle_is_read_again(seaweed):
    data = os.urandom(500_000)
    seaweed.store().put("long", data)
    with proxied(seaweed.endpoint, ["cut", "cut"]) as proxy:
        assert behind(proxy).get("long") == data
        assert proxy.connections == 3


def test_a_put_whose_answer_was_lost_leaves_the_object_once(seaweed):
    data = os.urandom(200_000)
    with proxied(seaweed.endpoint, ["reset"]) as proxy:
        behind(proxy).put("lost/answer", data)
    assert seaweed.store().get("lost/answer") == data


def test_pauses_end_when_patience_does(seaweed):
    with proxied(seaweed.endpoint, ["busy"] * 100) as proxy:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            behind(proxy, patience="1").get("a")
        assert time.monotonic() - began < 1.5
        assert 3 <= proxy.connections <= 8, "pauses grow"
    assert caught.value.reason == "STORE_UNREACHABLE"


def test_a_wrong_address_is_told_soon():
    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        S3Store.from_options(
            "pets", {"endpoint": f"127.0.0.1:{free_port()}", "secure": "false"}, {}
        ).get("a")
    assert time.monotonic() - began < 8


def test_requests_in_flight_are_bounded(seaweed):
    with proxied(seaweed.endpoint) as proxy:
        store = behind(proxy, connections="3")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: store.put(f"bounded/{i}", b"x" * 5000), range(60)))
        assert proxy.connections <= 3
    assert len(list(seaweed.store().list("bounded/"))) == 60


def test_a_large_object_goes_up_in_parts_and_is_seen_only_whole(seaweed):
    data, store, sizes, stop = os.urandom(30 * 2**20), seaweed.store(), set(), threading.Event()

    def look():
        while not stop.is_set():
            sizes.add(len(data) if store.exists("large") else 0)

    looker = threading.Thread(target=look)
    looker.start()
    assert store.put("large", data)
    stop.set()
    looker.join()
    assert sizes <= {0, len(data)}
    assert store.get("large") == data
    assert "-" in seaweed.client().stat_object(BUCKET, "large").etag, "an ETag of parts"
    assert not store.put("large", os.urandom(9 * 2**20)), "a put of an existing key is a no-op"
    assert store.size("large") == len(data)


def test_the_version_of_a_large_object_is_the_same_for_all_and_changes_with_it(seaweed):
    data = bytearray(os.urandom(20 * 2**20))  # in parts: its ETag is no digest
    seaweed.store().put("versions/large", data)
    version = seaweed.store().version("versions/large")
    with proxied(seaweed.endpoint, ["reset", "busy"]) as proxy:
        assert behind(proxy).version("versions/large") == version
    assert seaweed.store(environ=READER).version("versions/large") == version
    data[-1] ^= 1
    seaweed.store().put("versions/large", data, overwrite=True)
    assert seaweed.store().version("versions/large") != version


def test_of_racing_writers_exactly_one_stores(seaweed):
    texts = [bytes([65 + i]) * 20_000 for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda text: seaweed.store().put("one", text), texts))
    assert won.count(True) == 1
    assert seaweed.store().get("one") == texts[won.index(True)]


def test_a_link_needs_no_credentials_and_expires(seaweed):
    store = seaweed.store()
    store.put("pictures/a.png", b"pixels")
    with urllib.request.urlopen(store.link("pictures/a.png", 60)) as answer:
        assert answer.read() == b"pixels"
        assert answer.headers["Content-Type"] == "image/png"
    short = store.link("pictures/a.png", 1)
    time.sleep(2.1)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(short)


def test_reading_needs_no_right_to_write(seaweed):
    seaweed.store().put("shared/a", b"x")
    reader = seaweed.store(environ=READER)
    assert reader.get("shared/a") == b"x"
    assert reader.exists("shared/a")
    assert reader.size("shared/a") == 1
    assert list(reader.list("shared/")) == ["shared/a"]
    with pytest.raises(Precondition, match="its user may not do this; allow it") as caught:
        reader.put("shared/b", b"x")
    assert caught.value.reason == "STORE_ACCESS_DENIED"


def test_a_missing_bucket_is_named(seaweed):
    elsewhere = seaweed.store(bucket="elsewhere")
    for call in (lambda: elsewhere.put("a", b"x"), lambda: elsewhere.get("a")):
        with pytest.raises(Precondition, match="bucket elsewhere does not exist; create it"):
            call()


@pytest.mark.parametrize("call", ["get", "exists", "size", "version"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID"),
        ("AWS_ACCESS_KEY_ID", "does not know AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_named_and_are_no_outage(seaweed, wrong, said, call):
    store = seaweed.store(environ={**CREDENTIALS, wrong: "wrong"})
    with pytest.raises(Precondition, match=said) as caught:
        getattr(store, call)("a")
    assert caught.value.reason == "STORE_ACCESS_DENIED"


def test_a_wrong_clock_is_named(seaweed, monkeypatch):
    seaweed.store().put("clock", b"x")
    hour, now, utcnow = 3600, time.time, minio.time.utcnow
    for shift in (-hour, hour):
        monkeypatch.setattr("minio.time.utcnow", lambda s=shift: utcnow() + timedelta(seconds=s))
        monkeypatch.setattr("servicekit.storage.s3_errors.time.time", lambda s=shift: now() + s)
        for call in (seaweed.store().get, seaweed.store().exists):
            with pytest.raises(Precondition, match="clock and ours differ by 60 min") as caught:
                call("clock")
            assert caught.value.reason == "STORE_CLOCK_SKEW"
    monkeypatch.setattr("minio.time.utcnow", lambda: utcnow() - timedelta(hours=1))
    monkeypatch.setattr("servicekit.storage.s3_errors.time.time", lambda: now() - hour)
    with pytest.raises(Precondition, match="clock and ours differ by 60 minutes; set the clock"):
        seaweed.store().put("late", b"x")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    names = (str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", names[0], "-keyout", names[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return names


def test_tls_trusts_the_authority_that_is_named(seaweed, certificate):
    seaweed.store().put("tls", b"x")
    with proxied(seaweed.endpoint, tls=certificate) as proxy:
        assert behind(proxy, secure="true", ca=certificate[0]).get("tls") == b"x"
        with pytest.raises(Precondition, match=r"authority with &ca=FILE") as caught:
            behind(proxy, secure="true").get("tls")
    assert caught.value.reason == "STORE_TLS"


def test_tls_to_a_plain_server_says_which_option_to_set(seaweed):
    with pytest.raises(Precondition, match="add &secure=false"):
        seaweed.store(secure="true").get("a")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://b", "s3://BUCKET.endpoint="),
        ("s3://?endpoint=h:1", "s3://BUCKET.endpoint="),
        ("s3://My_Pets?endpoint=h:1", "'My_Pets' is not a bucket name"),
        ("s3://pets?endpoint=h:1&safe=no", "no option 'safe'"),
        ("s3://pets?endpoint=h:1&secure=maybe", "secure is 'maybe'"),
        ("s3://pets?endpoint=h:1&style=round", "style is 'round'"),
        ("s3://pets?endpoint=h:1&patience=long", "patience is 'long'"),
        (
            "s3://pets?endpoint=h:1&ca=/not/there.pem",
            "/not/there.pem is not a PEM file",
        ),
        ("s3://pets?endpoint=http://h:1", "is not an endpoint"),
        ("s3://pets?endpoint=ht!tp", "'ht!tp' is not an endpoint"),
        ("s3://pets?endpoint=h:99999", "'h:99999' is not an endpoint"),
    ],
)
def test_bad_options_are_named(url, said):
    with pytest.raises(InvalidArgument, match=said) as caught:
        open_store(url)
    assert caught.value.field == "store"


def test_half_of_the_credentials_is_an_error():
    with pytest.raises(InvalidArgument, match="AWS_SECRET_ACCESS_KEY is not set"):
        S3Store.from_options("pets", {"endpoint": "h:1"}, {"AWS_ACCESS_KEY_ID": "a"})


def test_the_style_of_addresses_can_be_chosen():
    for style, start in (
        ("path", "https://s3.test/pets/k?"),
        ("virtual", "https://pets.s3.test/k?"),
    ):
        options = {"endpoint": "s3.test", "style": style}
        assert S3Store.from_options("pets", options, CREDENTIALS).link("k", 9).startswith(start)


def test_a_killed_server_that_comes_back_is_waited_for(tmp_path):
    server = Seaweed(tmp_path)
    server.start()
    store = server.store()
    store.put("before", b"x")
    server.kill()
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        keys = [f"during/{i}" for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda key: store.put(key, key.encode()), keys))
        assert store.get("before") == b"x"
        assert list(store.list("during/")) == keys
        with pytest.raises(NotFound):
            store.get("never")
    finally:
        starting.join()
        server.kill()
