"""Labels of imported tables: by the schema, the column and its type, or the named field."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafiles.places.place import FilePlace
from datafiles.samples import Chosen
from gateway.datasets.source import Entry
from gateway.datasets.sources.parquet import SOURCE as TABLES
from gateway.datasets.sources.web_dataset import SOURCE
from servicekit.errors import InvalidArgument
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture
from tests.gateway.test_labels import facts, pictured
from tests.gateway.test_shards import shard

# As pandas writes categories.
CATEGORIES = pa.array(["cat", None, "dog"]).dictionary_encode()


def write_table(path, columns, features=None, *, nested=True):
    table = pa.table(columns)
    if features is not None:
        facts = {"features": features}
        metadata = {"info": facts} if nested else facts
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path)
    return path


def images(count):
    return [{"bytes": picture(n), "path": f"{n}.png"} for n in range(count)]


def take_table(path):
    dataset, items, _ = take(path, root=path.parent)
    return dataset, {item.source: item.class_name for item in items}


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("names", [["cat", "dog "], {"0": "cat", "1": "dog"}])
def test_numbers_are_named_by_the_schema_of_hugging_face(tmp_path, names, nested):
    features = {
        "image": {"_type": "Image"},
        "label": {"names": names, "_type": "ClassLabel"},
    }
    columns = {"image": images(4), "label": [0, 1, -1, 7]}
    dataset, classes = take_table(
        write_table(tmp_path / "a.parquet", columns, features, nested=nested)
    )
    assert classes == {"0.png": "cat", "1.png": "dog"}
    assert reasons(dataset) == {"2.png": "NO_CLASS", "3.png": "BAD_LABEL"}


@pytest.mark.parametrize("metadata", [b"{", b"[" * 200_000, b"[]", b'{"info": 3}', b"\xff"])
def test_damaged_metadata_leaves_numbers_to_be_numbers(tmp_path, metadata):
    table = pa.table({"image": images(1), "label": [3]})
    path = tmp_path / "a.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
    assert take_table(path)[1] == {"0.png": "3"}


@pytest.mark.parametrize(
    ("labels", "wanted", "left_out"),
    [
        ([0.0, float("nan"), 1.0], {"0.png": "0", "2.png": "1"}, {"1.png": "NO_CLASS"}),
        ([0, None, 1], {"0.png": "0", "2.png": "1"}, {"1.png": "NO_CLASS"}),
        ([b"cat", b"c\xe4t", b"dog"], {"0.png": "cat", "2.png": "dog"}, {"1.png": "NOT_UTF8"}),
        (["cat", "", " dog\n"], {"0.png": "cat", "2.png": "dog"}, {"1.png": "NO_CLASS"}),
        ([0.0, 0.5, 1.0], {"0.png": "0", "2.png": "1"}, {"1.png": "BAD_LABEL"}),
        (CATEGORIES, {"0.png": "cat", "2.png": "dog"}, {"1.png": "NO_CLASS"}),
    ],
)  # fmt: skip
def test_label_columns_of_any_type_are_read_or_listed(tmp_path, labels, wanted, left_out):
    path = write_table(tmp_path / "a.parquet", {"image": images(3), "label": labels})
    dataset, classes = take_table(path)
    assert classes == wanted
    assert reasons(dataset) == left_out


@pytest.mark.parametrize("labels", [[True, False], [["cat"], ["dog"]], [{"a": 1}, {"a": 2}]])
def test_labels_that_name_no_class_are_refused_with_the_reason(tmp_path, labels):
    path = write_table(tmp_path / "a.parquet", {"image": images(2), "label": labels})
    with pytest.raises(InvalidArgument, match=r"0\.png: the label"):
        take_table(path)


def test_texts_that_are_no_utf_8_are_one_rows_fault(tmp_path):
    raw = pa.array([b"cat", b"\xff\xfe", b"dog"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = write_table(tmp_path / "a.parquet", {"image": images(3), "label": texts})
    dataset, classes = take_table(path)
    assert classes == {"0.png": "cat", "2.png": "dog"}
    assert list(reasons(dataset)) == ["1.png"]


def test_the_only_column_of_classes_is_the_label_and_two_are_asked_about(tmp_path):
    coarse = {"names": ["animal", "plant"], "_type": "ClassLabel"}
    fine = {"names": ["cat", "rose"], "_type": "ClassLabel"}
    columns = {"img": images(2), "fine_label": [0, 1], "coarse_label": [0, 1]}
    one = write_table(tmp_path / "one.parquet", columns, {"fine_label": fine})
    assert take_table(one)[1] == {"0.png": "cat", "1.png": "rose"}
    features = {"fine_label": fine, "coarse_label": coarse}
    two = write_table(tmp_path / "two.parquet", columns, features)
    with pytest.raises(InvalidArgument, match="fine_label") as caught:
        take_table(two)
    assert caught.value.reason == "COLUMNS_MISSING"


def test_rows_of_several_splits_in_one_table_are_refused(tmp_path):
    columns = {
        "image": images(3),
        "label": ["cat", "dog", "cat"],
        "split": ["train", "train", "test"],
    }
    with pytest.raises(InvalidArgument, match="'test', 'train'") as caught:
        take_table(write_table(tmp_path / "a.parquet", columns))
    assert caught.value.reason == "SPLITS_MIXED"
    columns["split"] = ["train"] * 3
    assert len(take_table(write_table(tmp_path / "b.parquet", columns))[1]) == 3


def test_a_folder_of_parquet_files_is_a_source(tmp_path):
    write_table(tmp_path / "0.parquet", {"image": images(2), "label": ["cat", "dog"]})
    rest = [{"bytes": picture(n), "path": f"{n}.png"} for n in (7, 8)]
    write_table(tmp_path / "1.PARQUET", {"image": rest, "label": ["cat", "dog"]})
    (tmp_path / "2.parquet").write_bytes(b"PAR1 no more")
    dataset, classes = take_table(tmp_path)
    assert sorted(classes.values()) == ["cat", "cat", "dog", "dog"]
    assert reasons(dataset) == {"2.parquet": "BAD_PARQUET"}


def test_columns_fields_and_suffixes_can_be_named(tmp_path):
    columns = {"image": images(4)[2:], "photo": images(2), "fine": ["cat", "dog"], "label": [0, 1]}
    table = write_table(tmp_path / "a.parquet", columns)
    files = pictured(
        "0.jpg", "0.seg.png", ("0.cls", b"7"), ("0.fine.cls", b"cat"), ("0.json", facts(kind="fox"))
    )
    (tmp_path / "a.tar").write_bytes(shard(files))

    def named(path, image, label):
        kind = TABLES if path.suffix == ".parquet" else SOURCE
        found = kind.scan(FilePlace(path, path.as_uri()), "", Chosen(image, label))
        taken = [one for one in found if isinstance(one, Entry)]
        return {one.path.removeprefix("a.tar/"): one.class_name for one in taken}

    assert named(table, "photo", "fine") == {"0.png": "cat", "1.png": "dog"}
    assert named(tmp_path / "a.tar", "seg.png", "fine.cls") == {"0.seg.png": "cat"}
    assert named(tmp_path / "a.tar", "", "kind") == {"0.jpg": "fox"}
    with pytest.raises(InvalidArgument, match="'coarse'"):
        named(table, "", "coarse")
