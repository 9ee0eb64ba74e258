"""Labels of imported shards: the right class, or a file that is listed with a reason."""

import json
import tracemalloc

import pytest

from datafiles.places.place import FilePlace
from datafiles.samples import BY_THE_RULES
from gateway.datasets.sources.web_dataset import SOURCE
from tests.gateway.importing import reasons, take
from tests.gateway.pictures import picture
from tests.gateway.test_shards import shard


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
        for n in range(2_000)
        for kind in ("cls", "jpg", "seg.png")
    ]
    (tmp_path / "a.tar").write_bytes(shard(files))
    del files
    tracemalloc.start()
    try:
        found = SOURCE.scan(FilePlace(tmp_path, "file:///x"), "", BY_THE_RULES)
        assert sum(1 for _ in found) == 4_000
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()
