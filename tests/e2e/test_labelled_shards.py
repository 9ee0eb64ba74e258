"""A study whose pool is WebDataset shards under a prefix of an S3 bucket has its oracle row."""

import hashlib
import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import DEMO
from tests.seaweed import CREDENTIALS, Seaweed

CLASSES = ("airplane", "dog", "ship")

pytestmark = [pytest.mark.servers, pytest.mark.slow]


def shards(rows, size):
    """Yields archives in which every image lies beside the name of its class."""
    for start in range(0, len(rows), size):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for number, row in enumerate(rows[start : start + size], start):
                files = {"jpg": row["image"]["bytes"], "cls": row["class_name"].encode()}
                for suffix, data in files.items():
                    member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        yield buffer.getvalue()


@pytest.mark.timeout(300)
def test_the_oracle_is_drawn_from_shards_in_a_bucket(variegate, photographs, tmp_path, monkeypatch):
    rows = pq.read_table(DEMO / "pool.parquet").to_pylist()
    own = {name: [row for row in rows if row["class_name"] == name] for name in CLASSES}
    pool = [own[name][number] for number in range(40) for name in CLASSES]
    classes = {hashlib.sha256(row["image"]["bytes"]).hexdigest(): row["class_name"] for row in pool}
    (tmp_path / "weed").mkdir()
    server = Seaweed(tmp_path / "weed")
    server.start()
    try:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        store = server.store()
        for number, shard in enumerate(shards(pool, 50)):
            store.put(f"pools/shards/{number:05d}.tar", shard)
        made = variegate(
            "study", photographs / "train", "--test", photographs / "test", "--methods",
            "retrieval", "--per-class", "5", "--seeds", "1", "--train-steps", "10",
            "--pool", "store:pools/shards", "--store", server.url,
            "--out", tmp_path / "out", "--json",
        )  # fmt: skip
        assert made.code == 0, made.err
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        rows = {row["method"]: row for row in results["rows"]}
        assert list(rows) == ["baseline", "oracle", "retrieval"]
        assert rows["oracle"]["added_image_count"] == 15
        [key] = [one for one in store.list("studies/") if "/oracle-" in one]
        drawn = pq.read_table(io.BytesIO(store.get(key))).to_pylist()
        assert [classes[row["sha256"]] for row in drawn] == [row["class_name"] for row in drawn]
    finally:
        server.kill()
