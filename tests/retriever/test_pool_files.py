"""Pools whose files have dotted names, odd neighbours or facts that cannot be read."""

import pyarrow as pa
from variegate.retriever.v1 import retriever_pb2 as pb

from tests.retriever.conftest import Client, put_table
from tests.retriever.test_create_index import index_of
from tests.retriever.test_pools import captions, tar_of


def left_out(index: pb.Index) -> dict[str, int]:
    return {one.reason: one.file_count for one in index.left_out}


async def test_dotted_loose_names_are_read_and_every_drop_is_counted(
    client: Client, photographs: list[bytes]
):
    for row, name in enumerate(("img_1.png", "img_1.5_0.png", "img_1.5_1.PNG", "v2.0_0.jpg")):
        client.store.put(f"web/cat/{name}", photographs[row])
    client.store.put("web/cat/v2.0_0.txt", b"a tabby")
    for name in ("img_1.seg.png", "v2.0_0.png"):
        client.store.put(f"web/cat/{name}", photographs[9])
    client.store.put("web/cat/broken.png", b"no image")
    client.store.put("web/cat/lonely.txt", b"text")
    client.store.put("web/readme.md", b"hello")
    client.store.put("web/@eaDir/cat/thumb.png", photographs[8])
    operation = await client.build("dots", "store:web")
    index = index_of(operation)
    assert index.image_count == 4
    assert sorted(await captions(client, "dots")) == ["", "", "", "a tabby"]
    assert left_out(index) == {
        "NOT_A_PHOTOGRAPH": 1,
        "SECOND_IMAGE": 1,
        "NOT_AN_IMAGE": 1,
        "NO_IMAGE": 1,
        "UNKNOWN_SUFFIX": 1,
    }
    assert {one.reason: one.example for one in index.left_out}["NO_IMAGE"].startswith(
        "store:web/cat/lonely.txt"
    )
    metadata = pb.CreateIndexMetadata()
    operation.metadata.Unpack(metadata)
    assert list(metadata.left_out) == list(index.left_out)
    assert (metadata.done_count, metadata.failed_count, metadata.total_count) == (4, 1, 5)


async def test_dotted_names_of_an_archive_keep_their_own_facts(
    client: Client, photographs: list[bytes]
):
    files: dict[str, bytes] = {}
    for row, name in enumerate(("v1.0_0", "v1.0_1", "2024.01.15_0", "name 2.0 (Clean)")):
        files[f"{name}.JPG"] = photographs[row]
        files[f"{name}.txt"] = name.encode()
        files[f"{name}.seg.png"] = photographs[20 + row]
    files["__MACOSX/._v1.0_0.jpg"] = b"resource fork"
    client.store.put("p/0.TAR", tar_of(files))
    index = index_of(await client.build("tar", "store:p"))
    assert await captions(client, "tar") == sorted(
        ["v1.0_0", "v1.0_1", "2024.01.15_0", "name 2.0 (Clean)"]
    )
    assert left_out(index) == {"NOT_A_PHOTOGRAPH": 4}


async def test_facts_that_no_parser_survives_are_one_files_fault(
    client: Client, photographs: list[bytes]
):
    facts = {
        "a.json": b"[" * 200_000,
        "b.json": b'{"n": ' + b"9" * 5000 + b"}",
        "c.txt": b"caf\xe9",
        "d.json": b'{"caption": "\\ud800", "note": "\\udfff", "n": 1' + b"0" * 400 + b"}",
        "e.cls": b"cat" + bytes(2**20),
        "f.json": b'{"label": "cat"}',
        "f.cls": b"dog",
    }
    images = {f"cat/{name}.jpg": photographs[row] for row, name in enumerate("abcdef")}
    files = {**images, **{f"cat/{name}": data for name, data in facts.items()}}
    client.store.put("p/0.tar", tar_of(files))
    index = index_of(await client.build("facts", "store:p/0.tar"))
    assert index.image_count == 6
    assert left_out(index) == {
        "BAD_JSON": 2,
        "NOT_UTF8": 1,
        "TEXT_TOO_LONG": 1,
        "CONFLICTING_LABELS": 1,
    }


async def test_one_text_of_a_table_that_is_no_utf_8_costs_one_text(
    client: Client, photographs: list[bytes]
):
    raw = pa.array([b"one", b"\xff\xfe", b"three"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    images = [{"bytes": data} for data in photographs[:3]]
    uri = put_table(client.store, "p/0.PARQUET", pa.table({"image": images, "caption": texts}))
    index = index_of(await client.build("table", uri))
    assert await captions(client, "table") == ["", "one", "three"]
    assert left_out(index) == {"BAD_VALUE": 1}
