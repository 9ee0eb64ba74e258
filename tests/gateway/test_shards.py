"""Import of WebDataset shards: whole ones, img2dataset's, and every kind of damage."""

import io
import json
import tarfile

import pytest

from gateway.datasets import manifest
from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder


def shard(files):
    """The bytes of a .tar with these files, in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def samples(start, count, classes=("cat", "dog")):
    """Samples with a .png and a .cls, classes in turn."""
    for number in range(start, start + count):
        yield f"{number:06d}.png", picture(("shard", number))
        yield f"{number:06d}.cls", classes[number % len(classes)].encode()


def write_shards(folder, shards=3, each=4):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        (folder / f"{number:05d}.tar").write_bytes(shard(samples(number * each, each)))
    return folder


def test_shards_become_a_dataset(tmp_path):
    dataset, items, store = take(write_shards(tmp_path / "shards"), root=tmp_path)
    assert [(c.class_name, c.train_count) for c in dataset.classes] == [("cat", 6), ("dog", 6)]
    assert not dataset.rejected_files
    assert {item.source for item in items} >= {"00000.tar/000000.png", "00002.tar/000011.png"}
    assert all(store.exists(item.image_uri.removeprefix("store:")) for item in items)


def test_one_shard_alone_and_a_prefix_of_the_store_are_sources_too(tmp_path):
    folder = write_shards(tmp_path / "shards")
    alone, _, _ = take(folder / "00000.tar", root=tmp_path)
    assert [c.train_count for c in alone.classes] == [2, 2]
    store = MemoryStore()
    for path in folder.iterdir():
        store.put(f"sets/pets/{path.name}", path.read_bytes())
    below, _, _ = take("store:sets/pets", root=tmp_path, store=store)
    assert below.digest == take(folder, root=tmp_path)[0].digest
    single, _, _ = take("store:sets/pets/00000.tar", root=tmp_path, store=store)
    assert single.digest == alone.digest


def test_shards_and_a_folder_of_the_same_images_are_the_same_dataset(tmp_path):
    folder = write_folder(tmp_path / "folder")
    files = []
    for path in sorted(folder.rglob("*.png")):
        key = f"{path.parent.name}/{path.stem}"
        files += [(f"{key}.png", path.read_bytes()), (f"{key}.cls", path.parent.name.encode())]
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.tar").write_bytes(shard(files))
    first, second = (take(tmp_path / name, root=tmp_path) for name in ("folder", "shards"))
    assert first[0].digest == second[0].digest
    assert manifest.digest_of(first[1]) == manifest.digest_of(second[1])


def test_img2datasets_layout_is_read(tmp_path):
    facts = {"url": "https://x.test/a.jpg", "caption": "a cat", "width": 16, "class_name": "cat"}
    files = []
    for number in range(3):
        files += [
            (f"0000{number}.jpg", picture(number, form="JPEG")),
            (f"0000{number}.json", json.dumps({**facts, "key": f"0000{number}"}).encode()),
            (f"0000{number}.txt", b"a cat"),
        ]
    (tmp_path / "00000.tar").write_bytes(shard(files))
    (tmp_path / "00000.parquet").write_bytes(b"metadata of img2dataset")
    (tmp_path / "00000_stats.json").write_text("{}")
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert [(c.class_name, c.train_count) for c in dataset.classes] == [("cat", 3)]
    assert not dataset.rejected_files
    assert {item.source for item in items} == {f"00000.tar/0000{n}.jpg" for n in range(3)}


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda data: data[:5000], range(1, 4)),
        (lambda data: data[:-10240], [4]),
        (lambda data: data[:2560] + b"\xff" * 512 + data[3072:], range(1, 4)),
        (lambda data: b"no tar at all" * 100, [0]),
        (lambda data: b"", [0]),
    ],
    ids=["cut in a file", "cut before the end mark", "garbage in a header", "no tar", "empty"],
)
def test_a_damaged_shard_is_listed_and_stops_nothing(tmp_path, damage, kept):
    folder = write_shards(tmp_path / "shards", shards=2)
    (folder / "00000.tar").write_bytes(damage(shard(samples(0, 4))))
    dataset, items, _ = take(folder, root=tmp_path)
    assert reasons(dataset)["00000.tar"] == "BAD_SHARD"
    assert "get it again" in dataset.rejected_files[0].message
    assert len([i for i in items if i.source.startswith("00001.tar")]) == 4
    assert len([i for i in items if i.source.startswith("00000.tar")]) in kept


def test_bad_samples_are_listed_with_reasons(tmp_path):
    files = [
        *samples(0, 2),
        ("none.png", picture("none")),
        ("text.cls", b"cat"),
        ("broken.png", b"no picture"),
        ("broken.cls", b"cat"),
        ("json.png", picture("json")),
        ("json.json", b"{not json"),
        ("list.png", picture("list")),
        ("list.json", b"[1]"),
        ("label.png", picture("label")),
        ("label.json", b'{"label": 7, "class_name": null}'),
    ]
    (tmp_path / "a.tar").write_bytes(shard(files))
    dataset, _, _ = take(tmp_path, root=tmp_path)
    found = reasons(dataset)
    assert found.pop("a.tar/broken.png") in ("NOT_AN_IMAGE", "UNKNOWN_FORMAT", "BAD_IMAGE")
    assert found == {
        "a.tar/none.png": "NO_CLASS",
        "a.tar/text.cls": "NO_IMAGE",
        "a.tar/json.png": "NO_CLASS",
        "a.tar/json.json": "BAD_JSON",
        "a.tar/list.png": "NO_CLASS",
        "a.tar/list.json": "BAD_JSON",
    }
    assert [c.class_name for c in dataset.classes] == ["7", "cat", "dog"]


def test_links_and_devices_in_a_shard_are_never_followed(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("evil.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in samples(0, 2):
            info = tarfile.TarInfo(f"../../{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert len(items) == 2, "a name in a shard is a label and no path"
    assert reasons(dataset) == {"a.tar/evil.png": "NOT_A_FILE"}


def test_a_folder_of_damaged_shards_only_says_so(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(InvalidArgument, match=r"a\.tar is damaged from here on"):
        take(tmp_path, root=tmp_path)
