"""Pools of many forms: archives, parquet of others, prefixes, and shards that are broken."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import grpc
import pyarrow as pa
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.errors import Unavailable
from servicekit.storage import DirectoryStore, MemoryStore, to_uri
from tests.retriever.conftest import Client, put_pool, put_table, serving
from tests.retriever.test_create_index import error_of, index_of


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def put_tar(
    store: MemoryStore | DirectoryStore, key: str, images: Sequence[bytes], first: int = 0
) -> str:
    """Stores an archive as img2dataset writes it."""
    files: dict[str, bytes] = {}
    for row, data in enumerate(images, start=first):
        notes = {"caption": f"picture {row}", "aesthetic": row / 2, "license": "CC-BY", "url": "x"}
        files[f"{row:09d}.jpg"] = data
        files[f"{row:09d}.txt"] = f"picture {row}".encode()
        files[f"{row:09d}.json"] = json.dumps(notes).encode()
    store.put(key, tar_of(files), overwrite=True)
    return to_uri(key)


def columns_of(index: pb.Index) -> dict[str, str]:
    return {one.name: pb.Column.Kind.Name(one.kind) for one in index.columns}


async def captions(client: Client, index_id: str) -> list[str]:
    (hits,) = await client.search(index_id, 10_000, pb.Query(text="a dog"))
    return sorted(hit.caption for hit in hits)


async def test_an_archive_is_a_pool_with_captions_and_columns(
    client: Client, photographs: list[bytes]
):
    index = index_of(await client.build("tar", put_tar(client.store, "p/a.tar", photographs[:20])))
    assert index.image_count == 20
    assert await captions(client, "tar") == sorted(f"picture {row}" for row in range(20))
    assert columns_of(index).items() >= {
        ("aesthetic", "KIND_NUMBER"),
        ("license", "KIND_TEXT"),
        ("width", "KIND_NUMBER"),
        ("caption", "KIND_TEXT"),
    }


async def test_all_shards_under_a_prefix_are_one_pool_and_descriptions_of_shards_are_none(
    client: Client, photographs: list[bytes]
):
    put_tar(client.store, "p/00000.tar", photographs[:10])
    put_tar(client.store, "p/00001.tar", photographs[10:15], first=10)
    # img2dataset writes these beside its archives.
    put_table(client.store, "p/00000.parquet", {"url": ["x"], "caption": ["y"]})
    client.store.put("p/00000_stats.json", b"{}")
    put_pool(client.store, photographs[15:18], "more")
    client.store.put("p/more.parquet", client.store.get("pools/more.parquet"))
    for uri in ("store:p", "store:p/"):
        index = index_of(await client.build(f"pool{len(uri)}", uri))
        assert (index.image_count, list(index.broken_shards)) == (18, [])
    assert len(set(await captions(client, "pool7"))) == 18


async def test_parquet_as_img2dataset_writes_it(client: Client, photographs: list[bytes]):
    table = pa.table(
        {
            "key": ["0", "1", "2"],
            "jpg": [photographs[0], None, photographs[1]],
            "caption": ["one", "two", "three"],
            "status": ["success", "failed_to_download", "success"],
            "punsafe": [0.1, None, 0.9],
            "width": [1, None, 1],
        }
    )
    operation = await client.build("i2d", put_table(client.store, "p/00000.parquet", table))
    assert await captions(client, "i2d") == ["one", "three"]
    metadata = pb.CreateIndexMetadata()
    operation.metadata.Unpack(metadata)
    assert (metadata.done_count, metadata.failed_count, metadata.total_count) == (2, 1, 3)
    # Sizes are measured, not believed.
    within = pb.Filter(column="width", between=pb.NumberRange(least=32, most=32))
    found = await client.find("i2d", 9, pb.Query(text="a"), filters=[within])
    assert len(found.hits) == 2


async def test_loose_images_under_a_prefix_stay_where_they_are(
    client: Client, photographs: list[bytes]
):
    for row, data in enumerate(photographs[:6]):
        client.store.put(f"web/{'cat' if row % 2 else 'dog'}/{row}.jpg", data)
    client.store.put("web/dog/0.txt", b" a dog \n")
    client.store.put("web/dog/0.json", b"not json")
    client.store.put("web/readme.md", b"hello")
    assert index_of(await client.build("loose", "store:web")).image_count == 6
    assert not list(client.store.list("images/"))
    dogs = pb.Filter(column="class_name", one_of=pb.TextSet(texts=["dog"]))
    found = await client.find("loose", 9, pb.Query(text="a dog"), filters=[dogs])
    assert sorted(hit.image_uri for hit in found.hits) == [
        f"store:web/dog/{row}.jpg" for row in (0, 2, 4)
    ]
    assert {hit.caption for hit in found.hits} == {"a dog", ""}


async def test_broken_shards_are_listed_with_reasons_and_left_out(
    client: Client, photographs: list[bytes]
):
    put_tar(client.store, "p/0.tar", photographs[:10])
    whole = client.store.get("p/0.tar")
    client.store.put("p/1.tar", whole[: len(whole) // 2 + 100])
    client.store.put("p/2.tar", b"no archive at all" * 100)
    put_pool(client.store, photographs[10:30], "good")
    data = bytearray(client.store.get("pools/good.parquet"))
    client.store.put("p/3.parquet", bytes(data))
    client.store.put("p/4.parquet", bytes(data[:-20]))
    data[4:60] = bytes(56)  # The header of the first page.
    client.store.put("p/5.parquet", bytes(data))
    put_table(client.store, "p/6.parquet", {"name": ["a"]})
    operation = await client.build("broken", "store:p")
    index = index_of(operation)
    assert index.image_count == 30
    assert {one.uri: one.reason for one in index.broken_shards} == {
        "store:p/1.tar": "NOT_TAR",
        "store:p/2.tar": "NOT_TAR",
        "store:p/4.parquet": "NOT_PARQUET",
        "store:p/5.parquet": "DAMAGED",
        "store:p/6.parquet": "POOL_COLUMNS",
    }
    assert all(one.uri in one.message for one in index.broken_shards)
    metadata = pb.CreateIndexMetadata()
    operation.metadata.Unpack(metadata)
    assert (metadata.done_count, metadata.total_count) == (30, 30)
    assert list(metadata.broken_shards) == list(index.broken_shards)


async def test_a_pool_of_nothing_but_broken_shards_fails_with_the_first_reason(client: Client):
    client.store.put("p/1.tar", b"no archive")
    client.store.put("p/2.tar", b"nor this")
    error = error_of(await client.build("none", "store:p"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NOT_TAR")
    assert "store:p/1.tar" in error.message and "1 more" in error.message


async def test_prefixes_without_anything_to_use_fail_with_a_sentence(client: Client):
    client.store.put("texts/a.txt", b"hello")
    assert error_of(await client.build("texts", "store:texts")).reason == "EMPTY_POOL"
    missing = error_of(await client.build("missing", "store:nowhere"))
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    client.store.put("empty.tar", tar_of({}))
    assert error_of(await client.build("tar", "store:empty.tar")).reason == "EMPTY_POOL"


async def test_columns_that_are_numbers_here_and_texts_there_become_texts(
    client: Client, photographs: list[bytes]
):
    for number, score in enumerate(([1.5, 2.0], ["high", None])):
        images = [{"bytes": photographs[2 * number + row], "path": ""} for row in range(2)]
        put_table(client.store, f"p/{number}.parquet", {"image": images, "score": score})
    index = index_of(await client.build("mixed", "store:p"))
    assert columns_of(index)["score"] == "KIND_TEXT"
    high = pb.Filter(column="score", containing="HIGH")
    assert len((await client.find("mixed", 9, pb.Query(text="a"), filters=[high])).hits) == 1


class CountingStore(DirectoryStore):
    """A store that counts reads of archives, and fails at the part that it is told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, durable=False)
        self.archives_read: list[str] = []
        self.parts, self.fails_at = 0, -1

    def get(self, key: str) -> bytes:
        if key.endswith(".tar"):
            self.archives_read.append(key)
        return super().get(key)

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        if "/shards/" in key:
            if self.parts == self.fails_at:
                raise Unavailable("the store is gone")
            self.parts += 1
        return super().put(key, data, overwrite=overwrite)


async def test_an_interrupted_build_reads_no_finished_shard_again(
    tmp_path: Path, photographs: list[bytes]
):
    store = CountingStore(tmp_path)
    for number in range(3):
        images = photographs[20 * number : 20 * number + 20]
        put_tar(store, f"p/{number}.tar", images, first=20 * number)
    store.fails_at = 4  # Parts hold 8 rows: the second archive is half done.
    async with serving(store) as client:
        assert error_of(await client.build("cut", "store:p")).code is grpc.StatusCode.UNAVAILABLE
    store.fails_at = -1
    store.archives_read.clear()
    async with serving(store) as client:
        resumed = index_of(await client.build("cut", "store:p"))
        assert store.archives_read == ["p/1.tar", "p/2.tar"]
        assert store.parts == 9
        straight = index_of(await client.build("straight", "store:p"))
    assert (resumed.image_count, resumed.digest) == (60, straight.digest)
