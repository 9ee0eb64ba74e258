"""Manifests and decoded images, from a store in memory."""

import errno
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from imaging.encode import encode_png
from servicekit.errors import Exhausted, Precondition
from servicekit.storage import MemoryStore
from trainer.data.cache import ImageCache
from trainer.data.images import open_images
from trainer.data.leases import Lease
from trainer.manifests import read_dataset, read_synthetic

URIS = ["store:images/a.png", "store:images/b.png"]


def decode(cache, digest, uris, size):
    """Decodes and lets go at once."""
    lease = Lease()
    decoded = cache.cached(digest, uris, size, lease)
    lease.release()
    return decoded


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    store.put("images/a.png", encode_png(wide))
    store.put("images/b.png", encode_png(np.full((16, 16, 3), 50, np.uint8)))
    return store


def test_images_are_scaled_to_the_shorter_side_and_cut_to_the_middle(store, tmp_path):
    decoded = decode(ImageCache(store, tmp_path, 10**9), "digest", URIS, 16)
    images = np.load(decoded.path)
    assert images.shape == (2, 16, 16, 3) and images.dtype == np.uint8
    assert (images[0] == 200).all() and (images[1] == 50).all()
    assert len(set(decoded.pixels)) == 2


def test_a_second_run_decodes_nothing(store, tmp_path):
    first = decode(ImageCache(store, tmp_path, 10**9), "digest", URIS, 32)
    store.delete("images/a.png")
    assert decode(ImageCache(store, tmp_path, 10**9), "digest", URIS, 32) == first


def test_another_size_is_another_entry(store, tmp_path):
    cache = ImageCache(store, tmp_path, 10**9)
    sizes = [np.load(decode(cache, "digest", URIS, size).path).shape[1] for size in (16, 24)]
    assert sizes == [16, 24]


def test_pixels_do_not_depend_on_the_file_format(store, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 50, np.uint8)).save(buffer, "BMP")
    store.put("images/c.bmp", buffer.getvalue())
    cache = ImageCache(store, tmp_path, 10**9)
    pixels = decode(cache, "d", [URIS[1], "store:images/c.bmp"], 16)
    assert pixels.pixels[0] == pixels.pixels[1]


def test_missing_and_broken_images_are_named_and_leave_no_entry(store, tmp_path):
    cache = ImageCache(store, tmp_path, 10**9)
    with pytest.raises(Precondition, match=r"gone\.png"):
        decode(cache, "one", [*URIS, "store:images/gone.png"], 16)
    store.put("images/broken.png", b"\x89PNG broken")
    with pytest.raises(Precondition, match=r"1 images .*broken\.png"):
        decode(cache, "two", [*URIS, "store:images/broken.png"], 16)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mixed(store) -> tuple[MemoryStore, list[str]]:
    """Photographs of several formats, sizes and shapes."""
    draw, uris = np.random.default_rng(0), []
    for number in range(9):
        side = (24, 30, 400)[number % 3]
        small = draw.integers(0, 256, (6, 8, 3), np.uint8)
        image = Image.fromarray(small).resize((side + 10, side), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "PNG" if number == 0 else "JPEG")
        store.put(f"images/{number}", buffer.getvalue())
        uris.append(f"store:images/{number}")
    return store, uris


def as_shards(monkeypatch, shard_bytes=2**30):
    monkeypatch.setattr("trainer.data.keepers.DECODED_BYTES", 0)
    monkeypatch.setattr("trainer.data.keepers._SHARD_BYTES", shard_bytes)


def test_encoded_images_have_the_very_pixels_of_decoded_ones(mixed, tmp_path, monkeypatch):
    store, uris = mixed
    decoded = decode(ImageCache(store, tmp_path / "one", 10**9), "d", uris, 24)
    as_shards(monkeypatch, shard_bytes=8000)
    encoded = decode(ImageCache(store, tmp_path / "two", 10**9), "d", uris, 24)
    assert encoded.pixels == decoded.pixels
    shards = sorted(path.name for path in encoded.path.glob("*.tar"))
    assert len(shards) > 1 and not (encoded.path / "images.npy").exists()
    images = [open_images(one.path, 24) for one in (decoded, encoded)]
    assert len(images[0]) == len(images[1]) == len(uris)
    for row in (8, 0, 3, 3, 7, 1, 2, 4, 5, 6):
        np.testing.assert_array_equal(images[0].read(row), images[1].read(row))


def test_whole_pictures_are_kept_beside_squares_and_their_squares_are_the_same(mixed, tmp_path):
    store, uris = mixed
    sizes = [Image.open(io.BytesIO(store.get(uri.removeprefix("store:")))).size for uri in uris]
    cache, lease = ImageCache(store, tmp_path, 10**9), Lease()
    whole = np.arange(len(uris)) < 6
    squares = cache.cached("d", uris, 24, lease)
    wholes = cache.cached("d", uris, 24, lease, whole)
    assert wholes.pixels == squares.pixels and wholes.path != squares.path
    images = [open_images(one.path, 24) for one in (squares, wholes)]
    for row, (width, height) in enumerate(sizes):
        read = images[1].read_whole(row)
        if width * height <= 4 * 24 * 24:
            assert read.shape == (height, width, 3)
        elif whole[row]:
            assert 1.9 * 24 * 24 < read.shape[0] * read.shape[1] <= 2 * 24 * 24
            assert read.shape[1] / read.shape[0] == pytest.approx(width / height, rel=0.05)
        else:
            assert read.shape == (24, 24, 3)
        if not (whole[row] and width > 100):
            np.testing.assert_array_equal(images[1].read(row), images[0].read(row))
    lease.release()
    taken = sum(file.stat().st_size for file in wholes.path.iterdir())
    assert taken <= ImageCache.bytes_of(len(uris), 24, has_whole=True)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its file open
def test_shards_are_such_as_webdataset_reads(mixed, tmp_path, monkeypatch):
    store, uris = mixed
    as_shards(monkeypatch)
    path = decode(ImageCache(store, tmp_path, 10**9), "d", uris, 24).path
    rows = list(webdataset.WebDataset(str(path / "000000.tar"), shardshuffle=False))
    assert [row["__key__"] for row in rows] == [f"{number:09d}" for number in range(len(uris))]
    kept = [store.get(uri.removeprefix("store:")) for uri in uris]
    # A small file is kept as it is, and of one of many pixels only the square that is trained on.
    assert rows[1]["jpg"] == kept[1]
    assert Image.open(io.BytesIO(rows[2]["png"])).size == (24, 24)


def test_the_room_that_is_reckoned_for_shards_is_enough(store, tmp_path, monkeypatch):
    as_shards(monkeypatch)
    draw, size = np.random.default_rng(0), 64
    for number in range(3):  # Noise, which no format makes smaller.
        store.put(f"noise/{number}", encode_png(draw.integers(0, 256, (64, 300, 3), np.uint8)))
    uris = [f"store:noise/{number}" for number in range(3)]
    entry = decode(ImageCache(store, tmp_path, 10**9), "d", uris, size).path
    taken = sum(file.stat().st_size for file in entry.iterdir())
    assert 3 * 3 * size * size < taken <= ImageCache.bytes_of(3, size)


def entries(folder):
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def test_entries_longest_unused_make_room(store, tmp_path):
    cache = ImageCache(store, tmp_path, 4000)  # an entry of two images has about 1,900 bytes
    for digest in ("one", "two"):
        decode(cache, digest, URIS, 16)
    assert decode(cache, "one", URIS, 16).path.exists()
    decode(cache, "three", URIS, 16)
    assert entries(tmp_path) == ["one", "three"]


def test_entries_in_use_are_never_removed_whoever_needs_room(store, tmp_path):
    lease = Lease()
    real = ImageCache(store, tmp_path, 1).cached("real", URIS, 16, lease)
    made = ImageCache(store, tmp_path, 1).cached("made", URIS, 16, lease)
    other = ImageCache(store, tmp_path, 1)  # as of another process
    decode(other, "third", URIS, 16)
    decode(other, "fourth", URIS, 16)
    assert real.path.exists() and made.path.exists()
    assert entries(tmp_path) == ["fourth", "made", "real"]
    lease.release()
    decode(other, "fifth", URIS, 16)
    assert entries(tmp_path) == ["fifth"]


def test_what_a_killed_process_left_is_removed(store, tmp_path):
    leftover = tmp_path / ".0123abcd"
    leftover.mkdir()
    (leftover / "lock").touch()
    (leftover / "images.npy").write_bytes(b"half")
    decode(ImageCache(store, tmp_path, 10**9), "one", URIS, 16)
    assert entries(tmp_path) == ["one"]


def test_a_disk_without_room_is_told_before_anything_is_decoded(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr("trainer.data.cache.decode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(Exhausted, match=r"No space left on device; make room, or set TRAINER_"):
        decode(ImageCache(store, tmp_path, 10**9), "one", URIS, 16)
    assert entries(tmp_path) == []


def test_the_room_that_is_reckoned_is_the_room_that_is_taken(store, tmp_path):
    decoded = decode(ImageCache(store, tmp_path, 10**9), "one", URIS, 16)
    taken = sum(file.stat().st_size for file in decoded.path.parent.iterdir())
    assert taken == ImageCache.bytes_of(2, 16)


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


DATASET = {
    "item_id": ["i"],
    "image_uri": ["store:i"],
    "label": [3],
    "class_name": ["cat"],
    "split": ["train"],
    "sha256": ["s"],
}


def test_a_manifest_may_have_more_columns(store):
    store.put("m.parquet", parquet(**DATASET, width=[3]))
    [row] = read_dataset(store, "store:m.parquet").images.to_pylist()
    assert row == {k: v for k, (v,) in DATASET.items()} | {"source": "", "width": 3, "height": 0}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not parquet", "parquet"),
        (parquet(**{k: v for k, v in DATASET.items() if k != "sha256"}), "no column sha256"),
        (parquet(**{**DATASET, "label": pa.array([None], pa.int32())}), "label has empty values"),
    ],
)
def test_an_unusable_manifest_says_why(store, data, said):
    store.put("m.parquet", data)
    with pytest.raises(Precondition, match=said) as caught:
        read_dataset(store, "store:m.parquet")
    assert caught.value.reason == "MANIFEST_INVALID"


def test_synthetic_images_without_parents_have_none(store):
    columns = {k: v for k, v in DATASET.items() if k != "split"}
    parents = pa.array([None], pa.list_(pa.string()))
    store.put("s.parquet", parquet(**columns, source=["retrieved"], parents=parents))
    images = read_synthetic(store, "store:s.parquet").images
    assert not images.column("parents").to_pylist()[0]
