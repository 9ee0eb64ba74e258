"""Manifests and decoded images, from a store in memory."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imaging.encode import encode_png
from servicekit.errors import Precondition
from servicekit.storage import MemoryStore
from trainer.data import ImageCache
from trainer.manifests import read_dataset, read_synthetic

URIS = ["store:images/a.png", "store:images/b.png"]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    store.put("images/a.png", encode_png(wide))
    store.put("images/b.png", encode_png(np.full((16, 16, 3), 50, np.uint8)))
    return store


def test_images_are_scaled_to_the_shorter_side_and_cut_to_the_middle(store, tmp_path):
    decoded = ImageCache(store, tmp_path, 10**9).decoded("digest", URIS, 16)
    images = np.load(decoded.path)
    assert images.shape == (2, 16, 16, 3) and images.dtype == np.uint8
    assert (images[0] == 200).all() and (images[1] == 50).all()
    assert len(set(decoded.pixels)) == 2


def test_a_second_run_decodes_nothing(store, tmp_path):
    first = ImageCache(store, tmp_path, 10**9).decoded("digest", URIS, 32)
    store.delete("images/a.png")
    assert ImageCache(store, tmp_path, 10**9).decoded("digest", URIS, 32) == first


def test_another_size_is_another_entry(store, tmp_path):
    cache = ImageCache(store, tmp_path, 10**9)
    sizes = [np.load(cache.decoded("digest", URIS, size).path).shape[1] for size in (16, 24)]
    assert sizes == [16, 24]


def test_pixels_do_not_depend_on_the_file_format(store, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 50, np.uint8)).save(buffer, "BMP")
    store.put("images/c.bmp", buffer.getvalue())
    pixels = ImageCache(store, tmp_path, 10**9).decoded("d", [URIS[1], "store:images/c.bmp"], 16)
    assert pixels.pixels[0] == pixels.pixels[1]


def test_missing_and_broken_images_are_named_and_leave_no_entry(store, tmp_path):
    cache = ImageCache(store, tmp_path, 10**9)
    with pytest.raises(Precondition, match=r"gone\.png"):
        cache.decoded("one", [*URIS, "store:images/gone.png"], 16)
    store.put("images/broken.png", b"\x89PNG broken")
    with pytest.raises(Precondition, match=r"1 images .*broken\.png"):
        cache.decoded("two", [*URIS, "store:images/broken.png"], 16)
    assert list(tmp_path.iterdir()) == []


def test_entries_longest_unused_make_room(store, tmp_path):
    cache = ImageCache(store, tmp_path, 4000)  # an entry of two images has about 1,900 bytes
    for digest in ("one", "two"):
        cache.decoded(digest, URIS, 16)
    assert cache.decoded("one", URIS, 16).path.exists()
    cache.decoded("three", URIS, 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one-16", "three-16"]


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
