"""Import: everything that a folder of a user may hold."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datafiles.places.place import locate
from gateway.datasets import manifest
from gateway.settings import GatewaySettings
from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore, to_key
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture, write_folder


def test_a_folder_per_class_becomes_a_sorted_manifest(tmp_path):
    dataset, items, store = take(write_folder(tmp_path), root=tmp_path)
    assert [(c.class_name, c.label, c.train_count) for c in dataset.classes] == [
        ("cat", 0, 3),
        ("dog", 1, 3),
    ]
    assert items == manifest.sort(items)
    for item in items:
        assert store.exists(to_key(item.image_uri))
        assert item.image_uri == f"store:images/{item.sha256[:2]}/{item.sha256}.png"
        assert (item.width, item.height, item.split) == (16, 16, "train")


def test_the_same_images_elsewhere_are_the_same_dataset(tmp_path):
    first = take(write_folder(tmp_path / "a"), root=tmp_path)
    second = take(write_folder(tmp_path / "b"), root=tmp_path)
    assert first[0].digest == second[0].digest
    assert manifest.write(first[1]) == manifest.write(second[1])


def test_bad_files_are_listed_with_reasons_and_never_stop_it(tmp_path):
    write_folder(tmp_path)
    cat = tmp_path / "cat"
    (cat / "empty.png").write_bytes(b"")
    (cat / "cut.png").write_bytes(picture("cut", (64, 64))[:2000])
    (cat / "notes.txt").write_text("no image")
    bomb = Image.new("1", (10_000, 10_000))
    bomb.save(cat / "bomb.png")
    (tmp_path / "loose.png").write_bytes(picture("loose"))
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert reasons(dataset) == {
        "cat/empty.png": "EMPTY",
        "cat/cut.png": "TRUNCATED",
        "cat/notes.txt": "NOT_AN_IMAGE",
        "cat/bomb.png": "TOO_MANY_PIXELS",
        "loose.png": "NO_CLASS",
    }
    assert all(file.message for file in dataset.rejected_files)
    assert len(items) == 6


def test_odd_but_good_images_are_taken(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 256).save(folder / "16.png")
    Image.new("CMYK", (9, 8), (1, 2, 3, 4)).save(folder / "cmyk.jpg")
    Image.new("P", (8, 8), 3).save(folder / "palette.gif")
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.new("RGB", (20, 10), "green")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert not dataset.rejected_files
    sizes = {item.source: (item.width, item.height) for item in items}
    assert sizes["odd/turned.jpg"] == (10, 20)
    assert len(items) == 5


def test_names_with_spaces_unicode_and_depth_work_and_hidden_files_do_not(tmp_path):
    deep = tmp_path / "Höhlen bär 熊" / "very deep" / "down"
    deep.mkdir(parents=True)
    (deep / "a b..c.png").write_bytes(picture("x"))
    (deep / ".hidden.png").write_bytes(picture("y"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "z.png").write_bytes(picture("z"))
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert [item.class_name for item in items] == ["Höhlen bär 熊"]
    assert items[0].source == "Höhlen bär 熊/very deep/down/a b..c.png"
    assert not dataset.rejected_files


def test_links_that_leave_the_folder_are_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture("secret"))
    root = write_folder(tmp_path / "set")
    (root / "cat" / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "0.png")
    (root / "cat" / "folder").symlink_to(tmp_path)
    dataset, items, _ = take(root, root=tmp_path)
    assert reasons(dataset)["cat/link.png"] == "OUTSIDE_ROOT"
    assert reasons(dataset)["cat/folder"] == "OUTSIDE_ROOT"
    assert len(items) == 6


def test_nothing_of_this_machine_is_imported_unless_a_setting_names_its_folder(tmp_path):
    uri, roots = write_folder(tmp_path / "set").as_uri(), GatewaySettings().import_roots
    with pytest.raises(InvalidArgument, match=r"import from \(none\).*GATEWAY_IMPORT_ROOTS"):
        locate(uri, store=MemoryStore(), roots=roots, field="source.train_uri")


@pytest.mark.parametrize("uri", ["file://{}/../../etc", "file:///etc/passwd", "http://x/y", "/tmp"])
def test_places_outside_the_roots_are_refused(tmp_path, uri):
    root = write_folder(tmp_path / "set")
    with pytest.raises(InvalidArgument) as caught:
        take(f"{uri.format(root)}" if ":" in uri else f"file:{uri}", root=root)
    assert caught.value.field == "source.train_uri"
    assert caught.value.reason in ("OUTSIDE_IMPORT_ROOTS", "BAD_URI", "SOURCE_MISSING")


def test_pictures_that_repeat_are_kept_once(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "cat" / "again.png").write_bytes(picture(("train", "cat", 0)))
    (tmp_path / "dog" / "stolen.png").write_bytes(picture(("train", "cat", 1)))
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert reasons(dataset) == {"cat/again.png": "DUPLICATE", "dog/stolen.png": "CONFLICTING_CLASS"}
    assert len(items) == 6
    assert any("two classes" in warning for warning in dataset.warnings)


def test_one_image_in_a_class_works_and_an_empty_class_is_a_warning(tmp_path):
    write_folder(tmp_path, count=1)
    (tmp_path / "bird").mkdir()
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish" / "bad.png").write_bytes(b"")
    dataset, items, _ = take(tmp_path, root=tmp_path)
    assert len(items) == 2
    assert any("'bird'" in w and "no files" in w for w in dataset.warnings)
    assert any("'fish'" in w and "no image that can be used" in w for w in dataset.warnings)


@pytest.mark.parametrize("fill", [None, "cat", "loose"])
def test_a_folder_without_images_is_an_error_that_says_what_to_do(tmp_path, fill):
    root = tmp_path / "set"
    root.mkdir()
    if fill == "cat":
        (root / "cat").mkdir()
        (root / "cat" / "x.png").write_bytes(b"")
    if fill == "loose":
        (root / "a.png").write_bytes(picture("a"))
    with pytest.raises(InvalidArgument, match="folder"):
        take(root, root=tmp_path)


def test_parquet_with_class_names_or_labels(tmp_path):
    rows = [
        {"image": {"bytes": picture(n), "path": f"{n}.png"}, "label": n % 2, "class_name": name}
        for n, name in enumerate(("b", "a", "b", "a"))
    ]
    rows.append({"image": {"bytes": None, "path": "none.png"}, "label": 0, "class_name": "a"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "named.parquet")
    plain = [{"image": row["image"]["bytes"] or b"", "label": row["label"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "plain.parquet")
    dataset, items, _ = take(tmp_path / "named.parquet", root=tmp_path)
    assert [(c.class_name, c.train_count) for c in dataset.classes] == [("a", 2), ("b", 2)]
    assert reasons(dataset) == {"none.png": "EMPTY"}
    assert items[0].source in ("1.png", "3.png")
    dataset, _, _ = take(tmp_path / "plain.parquet", root=tmp_path)
    assert [c.class_name for c in dataset.classes] == ["0", "1"]


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InvalidArgument, match="not a parquet file"):
        take(tmp_path / "bad.parquet", root=tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InvalidArgument, match="it needs image and class_name or label"):
        take(tmp_path / "x.parquet", root=tmp_path)


def test_folders_and_parquet_of_the_object_store(tmp_path):
    store = MemoryStore()
    for name in ("cat", "dog"):
        store.put(f"uploads/u1/{name}/0.png", picture(name))
    _dataset, items, _ = take("store:uploads/u1", root=tmp_path, store=store)
    assert [item.source for item in items] == ["cat/0.png", "dog/0.png"]
    rows = [{"image": {"bytes": picture("p"), "path": "p"}, "class_name": "cat"}]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.put("uploads/u2.parquet", buffer.getvalue())
    assert len(take("store:uploads/u2.parquet", root=tmp_path, store=store)[1]) == 1


def test_how_values_were_scaled_is_in_the_manifest_and_counted(tmp_path):
    write_folder(tmp_path)
    for name, top in (("a", 4095), ("b", 4000), ("c", 1000)):
        values = np.random.default_rng(top).integers(0, top, (16, 16))
        values[0, 0] = top
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / "cat" / f"{name}.png")
    numbers = np.linspace(0, 1e6, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(numbers).save(tmp_path / "cat" / "d.tif")
    dataset, items, _ = take(tmp_path, root=tmp_path)
    notes = {item.source: item.note for item in items}
    assert notes["cat/a.png"] == notes["cat/b.png"] != notes["cat/c.png"]
    assert sum(note is None for note in notes.values()) == 6
    twelve, ten, mixed = (text for text in dataset.warnings if "read" in text)
    assert "2 images" in ten + twelve and "12-bit" in ten + twelve and "cat/a.png" in ten + twelve
    assert "different scales" in mixed
    assert reasons(dataset) == {"cat/d.tif": "VALUE_RANGE"}
