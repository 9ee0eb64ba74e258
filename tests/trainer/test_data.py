"""Manifests and decoded images, from a store in memory."""

import errno
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imaging.encode import encode_png
from servicekit.errors import Exhausted, Precondition
from servicekit.storage import MemoryStore
from trainer.data.cache import ImageCache, Lease
from trainer.manifests import read_dataset, read_synthetic

URIS = ["store:images/a.png", "store:images/b.png"]


def decode(cache, digest, uris, size):
    """Decodes and lets go at once."""
    lease = Lease()
    decoded = cache.decoded(digest, uris, size, lease)
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
    real = ImageCache(store, tmp_path, 1).decoded("real", URIS, 16, lease)
    made = ImageCache(store, tmp_path, 1).decoded("made", URIS, 16, lease)
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
    monkeypatch.setattr("trainer.data.cache.decode_image", lambda *_: pytest.fail("it was decoded"))
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
    [item] = read_dataset(store, "store:m.parquet").items
    assert (item.item_id, item.label, item.class_name, item.split) == ("i", 3, "cat", "train")


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
    [item] = read_synthetic(store, "store:s.parquet").items
    assert item.parents == ()
