"""Images that are in two splits, as they are or nearly: dropped or told, and refused on request."""

import io

import numpy as np
import pytest
from PIL import Image

from gateway.api.resources import Dataset, DatasetSource
from gateway.datasets.importer import import_dataset
from gateway.datasets.protocols import Subset
from servicekit.errors import Precondition
from servicekit.storage import MemoryStore
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder


def test_a_leak_between_the_splits_is_reported_and_the_training_copy_dropped(tmp_path):
    train = write_folder(tmp_path / "train")
    test = write_folder(tmp_path / "test", tag="test")
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(("train", "dog", 1)))).save(buffer, "BMP")
    (test / "dog" / "leak.bmp").write_bytes(buffer.getvalue())
    dataset, items, _ = take(train, test, root=tmp_path)
    assert reasons(dataset) == {"dog/1.png": "IN_TEST_SPLIT"}
    assert any(warning.startswith("leak: 1 images") for warning in dataset.warnings)
    assert sum(item.split == "train" for item in items) == 5


def test_near_copies_of_validation_images_are_told(tmp_path):
    folder = write_folder(tmp_path, count=2)
    for quality in (90, 85, 80, 75):
        photograph(3, (48, 48)).save(folder / "cat" / f"{quality}.jpg", quality=quality)
    dataset, *_ = take(folder, root=tmp_path, subset=Subset(validation_fraction=0.5))
    assert any("near copies of validation images" in text for text in dataset.warnings)


def photograph(seed, size=(48, 48)):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC).resize(size)


def leaking(tmp_path):
    """A test set that is the training set saved again as JPEG, half of it smaller."""
    for seed in range(12):
        for split, size in (("train", 48), ("test", 48 if seed % 2 else 24)):
            folder = tmp_path / split / ("cat" if seed < 6 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            image = photograph(seed, (size, size))
            if split == "train":
                image.save(folder / f"{seed}.png")
            else:
                image.save(folder / f"{seed}.jpg", quality=85)
    photograph(99).save(tmp_path / "train" / "cat" / "fresh.png")
    return tmp_path / "train", tmp_path / "test"


def test_near_copies_between_the_splits_are_counted_noted_and_kept(tmp_path):
    train, test = leaking(tmp_path)
    dataset, items, _ = take(train, test, root=tmp_path)
    (warning,) = (text for text in dataset.warnings if text.startswith("leak"))
    assert "12 training images are near copies of test images" in warning
    assert "cat/0.png of cat/0.jpg" in warning
    notes = {item.source: item.note for item in items if item.split == "train"}
    assert notes["dog/7.png"] == "near copy of the test image dog/7.jpg"
    assert notes["cat/fresh.png"] is None and len(notes) == 13


def test_leaks_are_refused_on_request(tmp_path):
    train, test = leaking(tmp_path)
    source = DatasetSource(f"file://{train}", f"file://{test}", refuse_leaks=True)
    store = MemoryStore()
    with pytest.raises(Precondition) as caught:
        import_dataset(
            Dataset("datasets/d", source), store=store, roots=(str(tmp_path),),
            report=lambda *_: None,
        )  # fmt: skip
    assert caught.value.reason == "SPLITS_LEAK" and "12 are near copies" in caught.value.message
    assert not list(store.list("datasets/"))
