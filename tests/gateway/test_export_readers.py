"""What `augment` writes is read by torchvision, by Hugging Face's datasets and by webdataset."""

import gc
import io
import json
from dataclasses import replace
from hashlib import sha256

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from gateway.augment.rows import ManifestRow, write_rows
from gateway.datasets.manifest import DatasetItem
from gateway.datasets.manifest import write as write_dataset
from gateway.export import export_augmentation
from models.torchvision_cpu import declare_missing_operators
from servicekit.storage import MemoryStore
from tests.gateway.importing import take
from tests.gateway.pictures import picture

SEED = 2**64 - 3
CLASSES = ("ant", "cat", "dog")


def lineage(number):
    mixing = [{"kind": "coarse", "rows": [number, 2]}] if number % 2 else []
    return json.dumps({"seed": SEED - number, "mixing": mixing, "index": number})


@pytest.fixture
def store():
    """Images of two of three classes, JPEG among them, with seeds above 2^63."""
    store, rows, items = MemoryStore(), [], []
    for label, name in enumerate(CLASSES):
        items.append(
            DatasetItem(f"real{label}", "store:x", label, name, "train", str(label), 16, 16,
                        f"{name}/first photo.jpg")
        )  # fmt: skip
    for number in range(8):
        label = 1 + number % 2
        form = "JPEG" if number == 3 else "PNG"
        data = picture(("made", number), form=form)
        key = f"generated/{number}.{'jpg' if form == 'JPEG' else 'png'}"
        store.put(key, data)
        row = ManifestRow(
            item_id=f"item{number}",
            image_uri=f"store:{key}",
            sha256=sha256(data).hexdigest(),
            label=label,
            class_name=CLASSES[label],
            method="mvc",
            source="generated",
            parents=(f"real{label}",),
            prompt=f"a {CLASSES[label]}",
            seed=SEED - number,
            lineage=lineage(number),
        )
        rows.append(replace(row, clip_score=0.25))
    store.put("m.parquet", write_rows(rows))
    store.put("d.parquet", write_dataset(items))
    return store


@pytest.fixture
def written(store, tmp_path):
    def export(form):
        out = tmp_path / form
        export_augmentation(store, "store:m.parquet", out, dataset_uri="store:d.parquet", form=form)
        return out

    return export


def load(tmp_path, kind, **places):
    places = {name: str(place) for name, place in places.items()}
    loaded = datasets.load_dataset(kind, **places, cache_dir=str(tmp_path / "cache"))
    return loaded["train"]


def pixels(image):
    return sha256(image.convert("RGB").tobytes()).hexdigest()


@pytest.fixture
def expected(store):
    """The pixels of every class."""
    rows = pq.read_table(io.BytesIO(store.get("m.parquet"))).to_pylist()
    found = {"cat": set(), "dog": set()}
    for row in rows:
        image = Image.open(io.BytesIO(store.get(row["image_uri"].removeprefix("store:"))))
        found[row["class_name"]].add(pixels(image))
    return found


def by_class(pairs):
    found = {}
    for name, image in pairs:
        found.setdefault(name, set()).add(pixels(image))
    return found


def test_torchvision_reads_the_folder_and_its_numbers_are_in_the_manifest(written, expected):
    declare_missing_operators()
    from torchvision.datasets import ImageFolder

    out = written("imagefolder")
    folder = ImageFolder(out)
    assert folder.classes == ["cat", "dog"] and len(folder) == 8
    assert by_class((folder.classes[label], image) for image, label in folder) == expected
    manifest = {
        row["file_name"]: row for row in pq.read_table(out / "manifest.parquet").to_pylist()
    }
    for path, label in folder.samples:
        row = manifest[path.removeprefix(f"{out}/")]
        assert row["imagefolder_label"] == label
        assert CLASSES[row["label"]] == row["class_name"] == folder.classes[label]


def test_hugging_face_reads_the_folder_with_labels_and_metadata(written, expected, tmp_path):
    loaded = load(tmp_path, "imagefolder", data_dir=written("imagefolder"))
    assert loaded.features["label"].names == list(CLASSES)
    names = loaded.features["label"].int2str
    assert by_class((names(row["label"]), row["image"]) for row in loaded) == expected
    assert set(loaded["parent_files"][0]) <= {"cat/first photo.jpg", "dog/first photo.jpg"}
    assert set(map(int, loaded["seed"])) == {SEED - number for number in range(8)}


def test_hugging_face_reads_the_manifest_as_a_table(written, tmp_path):
    for form in ("imagefolder", "webdataset"):
        loaded = load(tmp_path, "parquet", data_files=written(form) / "manifest.parquet")
        assert loaded.features["label"].names == list(CLASSES)
        assert {loaded.features["label"].int2str(label) for label in loaded["label"]} == {
            "cat",
            "dog",
        }


def test_hugging_face_reads_the_shards(written, expected, tmp_path):
    loaded = load(tmp_path, "webdataset", data_files=written("webdataset") / "*.tar")
    assert by_class((row["json"]["class_name"], row["png"]) for row in loaded) == expected
    assert [row["cls"] for row in loaded] == [row["json"]["label"] for row in loaded]
    assert {int(row["json"]["seed"]) for row in loaded} == {SEED - n for n in range(8)}
    assert json.loads(loaded[1]["json"]["lineage"])["seed"] == str(SEED - 1)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its file open
def test_webdataset_reads_the_shards(written, expected):
    shard = str(written("webdataset") / "000000.tar")
    rows = list(webdataset.WebDataset(shard, shardshuffle=False).decode("pil"))
    gc.collect()
    assert [row["__key__"] for row in rows] == [f"item{number}" for number in range(8)]
    assert by_class((CLASSES[row["cls"]], row["png"]) for row in rows) == expected
    assert rows[0]["json"]["parent_files"] == ["cat/first photo.jpg"]
    assert rows[0]["txt"] == "a cat"


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_variegate_reads_back_what_it_wrote(written, form, tmp_path):
    out = written(form)
    dataset, items, _ = take(out, root=tmp_path)
    counts = {one.class_name: one.train_count for one in dataset.classes}
    assert counts == {"cat": 4, "dog": 4}
    manifest = pq.read_table(out / "manifest.parquet").to_pylist()
    assert {item.sha256 for item in items} == {row["sha256"] for row in manifest}


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_json_holds_no_number_that_a_reader_could_round(written, form):
    lines = (written(form) / "lineage.jsonl").read_text().splitlines()

    def numbers(value):
        if isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                yield from numbers(one)
        elif isinstance(value, int):
            yield value

    assert len(lines) == 8
    for line in map(json.loads, lines):
        assert max(numbers(line)) < 2**53
        assert int(line["seed"]) == int(line["lineage"]["seed"]) > 2**63


def test_a_manifest_holds_seeds_as_unsigned_numbers_of_64_bits(written):
    schema = pq.read_schema(written("imagefolder") / "manifest.parquet")
    assert schema.field("seed").type == pa.uint64()
