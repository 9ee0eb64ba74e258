"""Labels of imported shards and tables: the right class, or a file that is listed with a reason."""

import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafiles.places.place import FilePlace
from datafiles.samples import BY_THE_RULES, Chosen
from gateway.datasets.source import Entry
from gateway.datasets.sources.parquet import SOURCE as TABLES
from gateway.datasets.sources.web_dataset import SOURCE
from servicekit.errors import InvalidArgument
from tests.gateway.pictures import picture
from tests.gateway.test_import import reasons, take
from tests.gateway.test_shards import shard

# As pandas writes categories.
CATEGORIES = pa.array(["cat", None, "dog"]).dictionary_encode()


def pictured(*names):
    """Files: a picture of its own for each name of an image, the given bytes for all else."""
    return [(n, picture(n)) if isinstance(n, str) else n for n in names]


def take_shard(folder, *names):
    (folder / "a.tar").write_bytes(shard(pictured(*names)))
    dataset, items, _ = take(folder / "a.tar", root=folder)
    return dataset, {item.source.removeprefix("a.tar/"): item.class_name for item in items}


def facts(**values):
    return json.dumps(values).encode()


def test_dots_in_names_do_not_make_one_sample_of_many(tmp_path):
    _, classes = take_shard(
        tmp_path,
        "v1.0_0.png", ("v1.0_0.json", facts(label="cat")),
        "v1.0_1.png", ("v1.0_1.json", facts(label="dog")),
        "2024.01.15_0.png", ("2024.01.15_0.cls", b"cat"),
        "2024.01.15_1.png", ("2024.01.15_1.cls", b"dog"),
        "name 2.0 (Clean).png", ("name 2.0 (Clean).cls", b"fox"),
        "name 2.0 (Dirty).PNG", ("name 2.0 (Dirty).CLS", b"owl"),
    )  # fmt: skip
    assert classes == {
        "v1.0_0.png": "cat",
        "v1.0_1.png": "dog",
        "2024.01.15_0.png": "cat",
        "2024.01.15_1.png": "dog",
        "name 2.0 (Clean).png": "fox",
        "name 2.0 (Dirty).PNG": "owl",
    }


@pytest.mark.parametrize(
    ("names", "photograph", "left_out"),
    [
        (["0.jpg", "0.seg.png"], "0.jpg", {"0.seg.png": "NOT_A_PHOTOGRAPH"}),
        (["0.depth.png", "0.png"], "0.png", {"0.depth.png": "NOT_A_PHOTOGRAPH"}),
        (["0.png", "0.jpg"], "0.jpg", {"0.png": "SECOND_IMAGE"}),
        (["0.seg.png", "0.rgb.png"], "0.rgb.png", {"0.seg.png": "NOT_A_PHOTOGRAPH"}),
        (["0.front.png"], "0.front.png", {}),
        (["0.mask.png"], None, {"0.mask.png": "NOT_A_PHOTOGRAPH"}),
        (
            ["0.left.png", "0.right.png"],
            None,
            {"0.left.png": "AMBIGUOUS_IMAGE", "0.right.png": "AMBIGUOUS_IMAGE"},
        ),
    ],
)  # fmt: skip
def test_one_image_of_a_key_is_the_photograph_and_the_others_are_listed(
    tmp_path, names, photograph, left_out
):
    other = ["other.png", ("other.cls", b"dog")]
    for order in (names, reversed(names)):
        files = [*order, ("0.cls", b"cat"), *other]
        dataset, classes = take_shard(tmp_path, *files)
        assert classes == {**({photograph: "cat"} if photograph else {}), "other.png": "dog"}
        assert reasons(dataset) == {f"a.tar/{name}": why for name, why in left_out.items()}


def test_files_of_one_key_may_stand_apart(tmp_path):
    images = [f"{n}.png" for n in range(6)]
    labels = [(f"{n}.cls", b"cat" if n % 2 else b"dog") for n in range(6)]
    dataset, classes = take_shard(tmp_path, *images, *labels)
    assert classes == {f"{n}.png": "cat" if n % 2 else "dog" for n in range(6)}
    assert not dataset.rejected_files


@pytest.mark.parametrize(
    ("files", "bad", "reason"),
    [
        ([("x.cls", b"cat"), ("x.json", facts(label="dog"))], "x.png", "CONFLICTING_LABELS"),
        ([("x.cls", b"cat"), ("x.cls", b"dog")], "x.png", "CONFLICTING_LABELS"),
        ([("x.cls", b"3"), ("x.json", facts(label=4))], "x.png", "CONFLICTING_LABELS"),
        ([("x.json", facts(label=True))], "x.json", "BAD_LABEL"),
        ([("x.json", facts(label=["cat"]))], "x.json", "BAD_LABEL"),
        ([("x.json", facts(label={"name": "cat"}))], "x.json", "BAD_LABEL"),
        ([("x.json", facts(label=1.5))], "x.json", "BAD_LABEL"),
        ([("x.json", facts(label=10**30))], "x.json", "BAD_LABEL"),
        ([("x.json", facts(label=float("nan")))], "x.png", "NO_CLASS"),
        ([("x.json", facts(label=None))], "x.png", "NO_CLASS"),
        ([("x.json", facts(label=-1))], "x.png", "NO_CLASS"),
        ([("x.json", b"[" * 200_000)], "x.json", "BAD_JSON"),
        ([("x.json", b'{"label":' * 100_000)], "x.json", "BAD_JSON"),
        ([("x.json", b'{"label": ' + b"9" * 5000 + b"}")], "x.json", "BAD_JSON"),
        ([("x.json", b'{"label": 1e999}')], "x.json", "BAD_LABEL"),
        ([("x.json", b'{"label": "c\xe4t"}')], "x.json", "NOT_UTF8"),
        ([("x.json", b"")], "x.json", "BAD_JSON"),
        ([("x.json", b'"cat"')], "x.json", "BAD_JSON"),
        ([("x.cls", b"c\xe4t")], "x.cls", "NOT_UTF8"),
        ([("x.cls", b"cat" + bytes(2**20))], "x.cls", "TEXT_TOO_LONG"),
        ([("x.cls", b"")], "x.png", "NO_CLASS"),
    ],
)
def test_a_label_that_cannot_be_used_is_listed_and_its_image_is_not_guessed(
    tmp_path, files, bad, reason
):
    dataset, classes = take_shard(tmp_path, "x.png", *files, "other.png", ("other.cls", b"dog"))
    assert classes == {"other.png": "dog"}
    assert reasons(dataset)[f"a.tar/{bad}"] == reason
    assert "a.tar/x.png" in reasons(dataset)
    assert all(file.path in file.message for file in dataset.rejected_files)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"\xef\xbb\xbfcat\r\n", "cat"),
        ("\ufeffcat".encode("utf-16-le"), "cat"),
        (b" cat ", "cat"),
        ("Zu\u0308rich".encode(), "Zürich"),
        (b"3", "3"),
        (b"007", "007"),
    ],
)
def test_labels_are_stripped_composed_and_without_marks(tmp_path, text, name):
    _, classes = take_shard(tmp_path, "x.png", ("x.cls", text))
    assert classes == {"x.png": name}


def test_a_name_from_the_json_wins_over_a_number_beside_it(tmp_path):
    _, classes = take_shard(
        tmp_path,
        "x.png", ("x.cls", b"281"), ("x.json", facts(class_name="cat", label=281)),
        "y.png", ("y.cls", b"dog"), ("y.json", b"{damaged"),
    )  # fmt: skip
    assert classes == {"x.png": "cat", "y.png": "dog"}


def test_a_shard_is_read_as_a_stream(tmp_path):
    files = [
        (f"{n:06d}.{kind}", b"cat" if kind == "cls" else b"no picture")
        for n in range(20_000)
        for kind in ("cls", "jpg", "seg.png")
    ]
    (tmp_path / "a.tar").write_bytes(shard(files))
    del files
    tracemalloc.start()
    try:
        found = SOURCE.scan(FilePlace(tmp_path, "file:///x"), "", BY_THE_RULES)
        assert sum(1 for _ in found) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


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
