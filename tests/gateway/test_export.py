"""Export of an augmentation to a folder."""

import hashlib
import io
import json
import tarfile
import tracemalloc

import pyarrow.parquet as pq
import pytest

from gateway.augment.rows import ManifestRow, write_rows
from gateway.export import beside, export_augmentation, format_ids
from gateway.export.formats import web_dataset
from gateway.export.formats.image_folder import folder_of
from servicekit.errors import InvalidArgument, NotFound, Precondition
from servicekit.storage import MemoryStore
from tests.gateway.importing import take
from tests.gateway.pictures import picture


def ids(manifest):
    return pq.read_table(manifest).column("item_id").to_pylist()


@pytest.fixture
def store():
    store = MemoryStore()
    rows = []
    for label, name in enumerate(("cat", "été/../x")):
        for number in range(3):
            data = picture((name, number))
            key = f"generated/{label}{number}.png"
            store.put(key, data)
            sha = hashlib.sha256(data).hexdigest()
            rows.append(
                ManifestRow(
                    f"item{label}{number}", f"store:{key}", sha, label, name, "mvc", "generated"
                )
            )
    store.put("m.parquet", write_rows(rows))
    return store


def test_a_folder_per_class_with_manifest_and_lineage(store, tmp_path):
    out = tmp_path / "out"
    summary = export_augmentation(store, "store:m.parquet", out)
    assert summary.written_count == 6 and summary.class_counts == {"cat": 3, "été/../x": 3}
    assert (out / "cat" / "item00.png").read_bytes() == store.get("generated/00.png")
    lines = [json.loads(line) for line in (out / "lineage.jsonl").read_text().splitlines()]
    assert [line["item_id"] for line in lines][:2] == ["item00", "item01"]
    assert all((out / line["file_name"]).is_file() for line in lines)
    assert ids(out / "manifest.parquet") == ids(io.BytesIO(store.get("m.parquet")))
    assert {p.parent for p in tmp_path.rglob("*.png")} == {out / "cat", out / folder_of("été/../x")}


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_an_export_of_several_row_groups_is_one_of_a_single_group(
    store, tmp_path, monkeypatch, form
):
    one = export_augmentation(store, "store:m.parquet", tmp_path / "one", form=form)
    rows = pq.read_table(io.BytesIO(store.get("m.parquet")))
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, row_group_size=2)
    store.put("m.parquet", buffer.getvalue(), overwrite=True)
    monkeypatch.setattr(web_dataset, "SHARD_IMAGES", 5)
    monkeypatch.setattr(beside, "_ROWS", 1)
    two = export_augmentation(store, "store:m.parquet", tmp_path / "two", form=form)
    assert (one.class_counts, one.notes) == (two.class_counts, two.notes)
    tables = [pq.read_table(tmp_path / name / "manifest.parquet") for name in ("one", "two")]
    if form == "webdataset":
        assert sorted(path.name for path in (tmp_path / "two").glob("*.tar")) == [
            "000000.tar",
            "000001.tar",
        ]
        tables = [table.drop_columns("file_name") for table in tables]
    assert tables[0].equals(tables[1], check_metadata=True)


def test_an_export_holds_no_more_of_many_images_than_of_few(tmp_path, monkeypatch):
    monkeypatch.setattr(web_dataset, "SHARD_IMAGES", 50)
    monkeypatch.setattr(beside, "_ROWS", 50)

    def peak(count):
        """Returns the most bytes that Python holds, besides what the store does."""
        rows = (
            ManifestRow(f"i{number:06}", "store:i.png", "s", 0, "cat", "mvc", "generated")
            for number in range(count)
        )
        table = pq.read_table(io.BytesIO(write_rows(rows)))
        buffer, store = io.BytesIO(), MemoryStore()
        pq.write_table(table, buffer, row_group_size=50)
        store.put("m.parquet", buffer.getvalue())
        store.put("i.png", b"image")
        tracemalloc.start()
        out = tmp_path / str(count)
        export_augmentation(store, "store:m.parquet", out, form="webdataset")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(50)
    assert peak(800) < 1.3 * peak(400)


def test_an_existing_folder_is_refused_until_told_what_to_do(store, tmp_path):
    out = tmp_path / "out"
    export_augmentation(store, "store:m.parquet", out)
    with pytest.raises(Precondition, match=r"--resume .* --overwrite"):
        export_augmentation(store, "store:m.parquet", out)
    (out / "cat" / "item00.png").unlink()
    (out / "cat" / "item01.png").write_bytes(b"half")
    summary = export_augmentation(store, "store:m.parquet", out, resume=True)
    assert (summary.written_count, summary.kept_count) == (2, 4)
    assert export_augmentation(store, "store:m.parquet", out, overwrite=True).written_count == 6


def test_resuming_onto_something_else_is_refused(store, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Precondition, match="something other"):
        export_augmentation(store, "store:m.parquet", tmp_path, resume=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_export_that_breaks_off_has_no_manifest_and_goes_on(store, tmp_path):
    out, data = tmp_path / "out", store.get("generated/11.png")
    store.delete("generated/11.png")
    with pytest.raises(NotFound):
        export_augmentation(store, "store:m.parquet", out)
    assert not (out / "manifest.parquet").exists()
    store.put("generated/11.png", data)
    summary = export_augmentation(store, "store:m.parquet", out, resume=True)
    assert summary.written_count + summary.kept_count == 6


@pytest.mark.parametrize(
    ("name", "safe"), [("fire truck", True), ("..", False), ("a/b", False), ("", False)]
)
def test_class_names_never_leave_the_folder(name, safe):
    folder = folder_of(name)
    assert "/" not in folder and not folder.startswith(".") and folder
    assert (folder == name) == safe


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_shards_hold_images_labels_prompts_and_lineage(store, tmp_path):
    out = tmp_path / "out"
    export_augmentation(store, "store:m.parquet", out, form="webdataset")
    files = members(out / "000000.tar")
    assert files["item00.png"] == store.get("generated/00.png")
    assert files["item10.cls"] == b"1"
    assert json.loads(files["item10.json"])["class_name"] == "été/../x"
    lines = [json.loads(line) for line in (out / "lineage.jsonl").read_text().splitlines()]
    assert lines[0]["file_name"] == "000000.tar/item00.png"
    assert ids(out / "manifest.parquet") == ids(io.BytesIO(store.get("m.parquet")))


def test_shards_are_imported_again_as_they_were(store, tmp_path):
    out = tmp_path / "out"
    export_augmentation(store, "store:m.parquet", out, form="webdataset")
    dataset, items, _ = take(out, root=tmp_path)
    assert not dataset.rejected_files
    assert [(c.class_name, c.train_count) for c in dataset.classes] == [("cat", 3), ("été/../x", 3)]
    digests = {hashlib.sha256(store.get(key)).hexdigest() for key in store.list("generated/")}
    assert {item.sha256 for item in items} == digests


def test_an_export_in_shards_is_the_same_every_time_and_goes_on(store, tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.export.formats.web_dataset.SHARD_IMAGES", 2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    export_augmentation(store, "store:m.parquet", whole, form="webdataset")
    assert [path.name for path in sorted(whole.glob("*.tar"))] == [f"00000{n}.tar" for n in "012"]
    data = store.get("generated/11.png")
    store.delete("generated/11.png")
    with pytest.raises(NotFound):
        export_augmentation(store, "store:m.parquet", broken, form="webdataset")
    store.put("generated/11.png", data)
    summary = export_augmentation(store, "store:m.parquet", broken, form="webdataset", resume=True)
    assert (summary.written_count, summary.kept_count) == (2, 4)
    for path in whole.iterdir():
        assert (broken / path.name).read_bytes() == path.read_bytes()


def test_one_format_is_not_resumed_as_another(store, tmp_path):
    export_augmentation(store, "store:m.parquet", tmp_path / "out")
    with pytest.raises(Precondition, match="something other"):
        export_augmentation(
            store, "store:m.parquet", tmp_path / "out", form="webdataset", resume=True
        )


def test_an_unknown_format_is_named_with_the_known_ones(store, tmp_path):
    assert format_ids() == ["imagefolder", "webdataset"]
    with pytest.raises(InvalidArgument, match="no format 'zip'; known are imagefolder, webdataset"):
        export_augmentation(store, "store:m.parquet", tmp_path / "out", form="zip")


@pytest.mark.parametrize(
    "name", ["it's", "AT&T", "maillot, tank suit", "Crêpe (sweet)", "a:b", "x" * 255]
)
def test_a_class_keeps_its_name_where_the_file_system_takes_it(name):
    assert folder_of(name) == name


@pytest.mark.parametrize("name", [".net", "a/b", "..", "$RECYCLE.BIN", "é" * 128])
def test_other_names_get_a_folder_that_can_be_read(name):
    folder = folder_of(name)
    assert folder != name and "/" not in folder and len(folder.encode()) <= 255


def test_an_output_read_back_has_the_classes_that_it_was_made_of(store, tmp_path):
    summary = export_augmentation(store, "store:m.parquet", tmp_path / "out")
    assert any("'été/../x' is in the folder" in note for note in summary.notes)
    dataset, _, _ = take(tmp_path / "out", root=tmp_path)
    assert [one.class_name for one in dataset.classes] == ["cat", "été/../x"]
