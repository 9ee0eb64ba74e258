"""Images beside a table that names them and their classes, as metadata.csv of Hugging Face."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder

ROWS = [("images/a.png", "cat"), ("images/b.png", "cat"), ("images/c.png", "dog")]
CLASSES = dict(ROWS)


def images(root, *names):
    for name in names or CLASSES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(name))
    return root


def csv_of(rows, header="file_name,label"):
    return "".join(f"{line}\n" for line in [header, *(",".join(row) for row in rows)]).encode()


def json_lines(rows, column="label", more=()):
    lines = [json.dumps({"file_name": f, column: c, **dict(more)}) for f, c in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def classes_of(items):
    return {item.source: item.class_name for item in items}


def take_table(root, data, name="metadata.csv", **options):
    (root / name).write_bytes(data)
    dataset, items, _ = take(root, root=root, **options)
    return dataset, classes_of(items)


def parquet(folder, rows, **metadata):
    table = pa.Table.from_pylist(rows).replace_schema_metadata(metadata)
    pq.write_table(table, folder / "metadata.parquet")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("metadata.csv", csv_of(ROWS)),
        ("metadata.tsv", csv_of(ROWS).replace(b",", b"\t")),
        ("METADATA.CSV", csv_of(ROWS)),
        ("metadata.csv", csv_of(ROWS).replace(b",", b";")),
        ("metadata.csv", csv_of(ROWS).replace(b",", b"\t")),
        ("metadata.csv", csv_of(ROWS).replace(b",", b"|")),
        ("metadata.csv", csv_of(ROWS).replace(b"\n", b"\r\n")),
        ("metadata.csv", b"\xef\xbb\xbf" + csv_of(ROWS)),
        ("metadata.csv", csv_of(ROWS).decode().encode("utf-16")),
        ("metadata.csv", csv_of([(f, f'"{c}"') for f, c in ROWS])),
        ("metadata.csv", csv_of(ROWS, "file_name, label").replace(b".png,", b".png, ")),
        ("metadata.csv", csv_of([("0", *row) for row in ROWS], ",file_name,label")),
        ("metadata.csv", csv_of(ROWS, "File Name,Class Name")),
        ("metadata.csv", csv_of(ROWS).replace(b"images/", b"images\\")),
        ("metadata.csv", csv_of(ROWS).replace(b"images/", b"./images/")),
        ("labels.csv", csv_of(ROWS, "filename,class")),
        ("labels.csv", csv_of(ROWS, "image,category").replace(b"images/", b"")),
        ("labels.csv", csv_of(ROWS, "image,breed").replace(b"images/", b"").replace(b".png", b"")),
        ("annotations.csv", csv_of(ROWS, "path,labels")),
        ("metadata.jsonl", json_lines(ROWS)),
        ("labels.jsonl", json_lines(ROWS, "class_name", {"label": 3}).replace(b"\n", b"\n\n")),
    ],
)  # fmt: skip
def test_a_table_tells_the_classes_of_the_images_that_it_names(tmp_path, name, data):
    dataset, classes = take_table(images(tmp_path), data, name)
    assert classes == CLASSES
    assert not dataset.rejected_files
    assert any(f"are those of {name}" in warning for warning in dataset.warnings)


def test_fields_may_hold_separators_quotes_and_lines(tmp_path):
    images(tmp_path, "a, b.png", "c.png")
    data = b'file_name,note,label\n"a, b.png","two\nlines","say ""cat"", twice"\nc.png,,dog\n'
    _, classes = take_table(tmp_path, data)
    assert classes == {"a, b.png": 'say "cat", twice', "c.png": "dog"}


def test_numbers_of_a_parquet_table_have_the_names_of_its_schema(tmp_path):
    images(tmp_path)
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    rows = [{"file_name": f, "label": int(c == "dog")} for f, c in ROWS]
    parquet(tmp_path, rows, huggingface=json.dumps(names))
    assert classes_of(take(tmp_path, root=tmp_path)[1]) == CLASSES


def test_splits_may_have_a_table_each_and_so_may_a_folder_around_them(tmp_path):
    for split in ("train", "test"):
        names = [f"{split}/{n}.png" for n in range(3)]
        images(tmp_path / "set", *names)
        rows = [(f"{n}.png", "dog" if n else "cat") for n in range(3)]
        (tmp_path / "set" / split / "metadata.csv").write_bytes(csv_of(rows))
    dataset, items, _ = take(tmp_path, root=tmp_path, finds_layout=True)
    assert {one.class_name: (one.train_count, one.test_count) for one in dataset.classes} == {
        "cat": (1, 1), "dog": (2, 2)
    }  # fmt: skip
    assert len(items) == 6


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.parquet"])
def test_a_folder_around_images_and_their_table_is_gone_through(tmp_path, name):
    images(tmp_path / "set", "a.png", "b.png")
    if name == "metadata.csv":
        (tmp_path / "set" / name).write_bytes(csv_of([("a.png", "cat"), ("b.png", "dog")]))
    else:
        parquet(tmp_path / "set", [{"file_name": f"{n}.png", "label": n} for n in "ab"])
    dataset, _, _ = take(tmp_path, root=tmp_path, finds_layout=True)
    assert len(dataset.classes) == 2


def test_one_table_beside_split_folders_of_images_is_refused_with_what_to_do(tmp_path):
    images(tmp_path, "train/a.png", "test/a.png")
    rows = [("train/a.png", "cat"), ("test/a.png", "cat")]
    (tmp_path / "metadata.csv").write_bytes(csv_of(rows))
    with pytest.raises(InvalidArgument, match=r"'metadata\.csv' tells their classes, each needs"):
        take(tmp_path, root=tmp_path, finds_layout=True)


def test_a_table_in_the_object_store_is_read_too():
    store = MemoryStore()
    for name in CLASSES:
        store.put(f"set/{name}", picture(name))
    store.put("set/metadata.csv", csv_of([*ROWS, ("images/none.png", "cat")]))
    dataset, items, _ = take("store:set", root="/nowhere", store=store, finds_layout=True)
    assert classes_of(items) == CLASSES
    assert reasons(dataset) == {"metadata.csv line 5": "FILE_MISSING"}


@pytest.mark.parametrize(
    ("row", "path", "reason"),
    [
        ("images/none.png,cat", "metadata.csv line 5", "FILE_MISSING"),
        ("../out.png,cat", "metadata.csv line 5", "OUTSIDE_ROOT"),
        ("images/../../out.png,cat", "metadata.csv line 5", "OUTSIDE_ROOT"),
        ("..\\out.png,cat", "metadata.csv line 5", "OUTSIDE_ROOT"),
        ("/etc/passwd,cat", "metadata.csv line 5", "OUTSIDE_ROOT"),
        ("C:\\x.png,cat", "metadata.csv line 5", "OUTSIDE_ROOT"),
        (",cat", "metadata.csv line 5", "NO_FILE_NAME"),
        ("images/d.png,cat,dog", "metadata.csv line 5", "BAD_ROW"),
        ("images/d.png", "metadata.csv line 5", "BAD_ROW"),
        ("images/d.png,", "images/d.png", "NO_CLASS"),
        ("images/d.png,-1", "images/d.png", "NO_CLASS"),
        ("images/d.png,1.5\nimages/./d.png,cat", "images/d.png", "CONFLICTING_LABELS"),
        ("images/d.png,dog\nimages/d.png,cat\nimages/d.png,dog", "images/d.png",
         "CONFLICTING_LABELS"),
        ("d.png,cat", "metadata.csv line 5", "AMBIGUOUS_FILE"),
    ],
)  # fmt: skip
def test_what_goes_with_nothing_is_listed_with_its_reason(tmp_path, row, path, reason):
    images(tmp_path, *CLASSES, "images/d.png", "other/d.png")
    (tmp_path.parent / "out.png").write_bytes(picture("out"))
    dataset, classes = take_table(tmp_path, csv_of(ROWS) + row.encode() + b"\n")
    assert classes == CLASSES
    assert reasons(dataset)[path] == reason
    assert reasons(dataset)["other/d.png"] == "NOT_NAMED"
    assert dict(dataset.rejected_counts)[reason] >= 1


def test_a_link_that_leaves_the_folder_is_listed_once_though_a_row_names_it(tmp_path):
    (tmp_path / "out.png").write_bytes(picture("out"))
    images(tmp_path / "set")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "out.png")
    dataset, classes = take_table(tmp_path / "set", csv_of([*ROWS, ("link.png", "cat")]))
    assert classes == CLASSES
    assert reasons(dataset) == {"link.png": "OUTSIDE_ROOT"}


def test_the_same_row_twice_is_one_image(tmp_path):
    dataset, classes = take_table(images(tmp_path), csv_of([*ROWS, *ROWS]))
    assert classes == CLASSES and not dataset.rejected_files


def test_bad_lines_of_json_are_listed(tmp_path):
    lines = [json.dumps({"file_name": f, "label": c}) for f, c in ROWS]
    lines += ["{", "[1]", '{"label": "cat"}', '{"file_name": ["a"], "label": "cat"}']
    dataset, classes = take_table(images(tmp_path), "\n".join(lines).encode(), "metadata.jsonl")
    assert classes == CLASSES
    assert list(reasons(dataset).values()) == ["BAD_JSON", "BAD_JSON", "NO_FILE_NAME",
                                               "NO_FILE_NAME"]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (csv_of([(f, "Hündin") for f, _ in ROWS]).decode().encode("latin-1"), "NOT_UTF8", "UTF-8"),
        (b"", "EMPTY", "file_name,label"),
        (csv_of(ROWS)[16:], "HEADER_MISSING", "Write one above it"),
        (csv_of(ROWS, "a,b"), "COLUMNS_MISSING", "--image-column.*--label-column"),
        (csv_of(ROWS, "file_name,text"), "COLUMNS_MISSING", "file_name, text.*--label-column"),
        (csv_of([(*r, "x") for r in ROWS], "file_name,fine_label,coarse_label"),
         "COLUMNS_UNCLEAR", "fine_label, coarse_label.*--label-column"),
        (csv_of(ROWS, "label,label"), "COLUMNS_MISSING", "twice"),
        (csv_of(ROWS) + b'images/d.png,"cat\n', "BAD_CSV", "line 5.*quotes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv", "mine.csv"])
def test_a_table_that_cannot_be_used_is_refused_with_what_to_type(
    tmp_path, name, data, reason, text
):
    with pytest.raises(InvalidArgument, match=f"(?s){name}.*{text}") as caught:
        take_table(images(tmp_path), data, name)
    assert caught.value.reason == reason


def test_columns_may_be_named(tmp_path):
    images(tmp_path)
    data = csv_of([(*row, "x") for row in ROWS], "id,kind,label")
    _, classes = take_table(tmp_path, data, image_column="id", label_column="kind")
    assert classes == CLASSES
    with pytest.raises(InvalidArgument, match="id, kind, label"):
        take(tmp_path, root=tmp_path, image_column="id", label_column="none")


def test_several_tables_are_not_guessed_between(tmp_path):
    images(tmp_path)
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_bytes(csv_of(ROWS))
    with pytest.raises(InvalidArgument, match=r"test\.csv, train\.csv"):
        take(tmp_path, root=tmp_path)
    _, classes = take_table(tmp_path, csv_of(ROWS))
    assert classes == CLASSES


def test_a_table_goes_before_folders_and_one_without_classes_leaves_them(tmp_path):
    write_folder(tmp_path, count=1)
    _, classes = take_table(tmp_path, b"file_name,text\ncat/0.png,a cat\n")
    assert classes == {"cat/0.png": "cat", "dog/0.png": "dog"}
    rows = [("cat/0.png", "lion"), ("dog/0.png", "wolf")]
    _, classes = take_table(tmp_path, csv_of(rows))
    assert classes == {"cat/0.png": "lion", "dog/0.png": "wolf"}


def test_tables_about_something_else_leave_class_folders_alone(tmp_path):
    write_folder(tmp_path, count=1)
    for name, data in (
        ("notes.csv", b"a,b\n1,2\n"),
        ("prices.csv", csv_of([("x.png", "3")])),
        ("broken.csv", b"\xff\xfe\xfd"),
        ("some.jsonl", b"{"),
    ):
        (tmp_path / name).write_bytes(data)
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert classes_of(items) == {"cat/0.png": "cat", "dog/0.png": "dog"}
    assert set(reasons(dataset).values()) == {"NO_CLASS"}


def test_rows_of_several_splits_in_one_table_are_refused(tmp_path):
    images(tmp_path)
    header = "file_name,label,split"
    mixed = [(*row, split) for row, split in zip(ROWS, ("train", "train", "test"), strict=True)]
    with pytest.raises(InvalidArgument, match="'test', 'train'") as caught:
        take_table(tmp_path, csv_of(mixed, header))
    assert caught.value.reason == "SPLITS_MIXED"
    alike = csv_of([(*row, "train") for row in ROWS], header)
    assert take_table(tmp_path, alike)[1] == CLASSES
