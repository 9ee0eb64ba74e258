"""One name for a class in every text, whatever its folder is called."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.datasets.display_names import (
    LONGEST,
    Synset,
    display_names,
    readable,
    synset_of,
    warnings_of,
    words_within,
)
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.system import open_system, rows_of

SYNSETS = {
    "n01440764": Synset(("tench", "Tinca tinca"), "cyprinid"),
    "n02012849": Synset(("crane",), "wading bird"),
    "n03126707": Synset(("crane",), "lifting device"),
    "n03710637": Synset(("maillot",), "tights"),
    "n03710721": Synset(("maillot", "tank suit"), "swimsuit"),
}


@pytest.mark.parametrize(
    ("class_name", "called"),
    [
        ("n01440764", "tench"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02086240_Shih-Tzu", "Shih Tzu"),
        ("PolarBear", "polar bear"),
        ("polarBear", "polar bear"),
        ("polar_bear", "polar bear"),
        ("polar__bear_", "polar bear"),
        ("polar-bear", "polar bear"),
        ("polar.bear", "polar bear"),
        ("polar%20bear", "polar bear"),
        ("Polar Bear", "Polar Bear"),
        ("001.ak47", "ak47"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("002.Black-footed_Albatross", "Black-footed Albatross"),
        ("10_dog", "dog"),
        ("01-cat", "cat"),
        ("003 cat", "cat"),
        ("(4) cat", "cat"),
        ("__unknown__", "unknown"),
        ("maillot, tank suit", "maillot, tank suit"),
        ("3-toed_sloth", "3-toed sloth"),
        ("BMWCar", "BMW car"),
        ("iPhone", "iPhone"),
        ("MacBook", "MacBook"),
        ("T-shirt", "T-shirt"),
        ("merry-go-round", "merry-go-round"),
        ("F-16", "F-16"),
        ("St. Bernard", "St. Bernard"),
        ("AT&T", "AT&T"),
        ("it's", "it's"),
        ("Crêpe (sweet)", "Crêpe (sweet)"),
        ("Zu\u0308rich", "Zürich"),
        ("猫", "猫"),
        ("airplane", "airplane"),
    ],
)
def test_a_class_is_called_as_people_would_say_it(class_name, called):
    made = display_names([class_name], SYNSETS)[class_name]
    assert made.text == called
    assert made.is_opaque == (called == "unknown")


@pytest.mark.parametrize(
    "class_name",
    [
        *("3", "0042", "-1", "3.0", "n99999999", "c17", "class_3", "class3", "label 7", "id-12"),
        *("d41d8cd98f", "0x1f3a9c", "550e8400-e29b-41d4-a716-446655440000", "x7Gh2kQ9"),
        *("A", "x", "_", "--", "__unknown__", "other", "NaN", "n/a", "20240115"),
    ],
)
def test_a_name_that_says_nothing_is_opaque_and_a_warning_says_what_to_do(class_name):
    made = display_names([class_name, "cat"], SYNSETS)
    assert made[class_name].is_opaque and not made["cat"].is_opaque
    [warning] = warnings_of(made)
    assert warning.startswith(f"1 of 2 class names mean nothing to a model: {class_name!r}")
    assert f"give --names FILE with a line for each, such as '{class_name} = fire truck'" in warning


def test_numbers_before_names_go_where_most_classes_have_one():
    assert readable("1-dog") == "1-dog"
    numbered = display_names(["1-dog", "2-cat", "3-bird"])
    assert [made.text for made in numbered.values()] == ["dog", "cat", "bird"]


def test_synsets_of_one_name_are_told_apart():
    texts = [made.text for made in display_names(list(SYNSETS), SYNSETS).values()]
    assert texts == [
        "tench",
        "crane (wading bird)",
        "crane (lifting device)",
        "maillot (tights)",
        "maillot, tank suit",
    ]
    assert warnings_of(display_names(list(SYNSETS), SYNSETS)) == []


def test_classes_that_are_called_the_same_are_a_warning():
    [warning] = warnings_of(display_names(["PolarBear", "polar_bear", "cat"]))
    assert "the classes 'PolarBear', 'polar_bear' are all called 'polar bear'" in warning


def test_a_name_that_people_gave_is_taken_as_it_is():
    made = display_names(["3", "n01440764"], SYNSETS, {"3": "red  FireTruck", "n01440764": "fish"})
    assert [one.text for one in made.values()] == ["red FireTruck", "fish"]
    assert not any(one.is_opaque for one in made.values())


def test_a_name_that_is_too_long_ends_between_words_and_is_a_warning():
    long = " ".join(["taxonomy"] * 20)
    made = display_names([long.replace(" ", "_")])
    [one] = made.values()
    assert one.is_cut and one.text == " ".join(["taxonomy"] * 11)
    assert "were cut for prompts" in warnings_of(made)[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=5, unique=True))
def test_every_class_is_called_something_short_in_one_line(class_names):
    for name, made in display_names(class_names).items():
        assert len(made.text) <= LONGEST and "\n" not in made.text
        assert made.text == made.text.strip() or made.is_opaque
        assert made.text or not name.strip() or made.is_opaque


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(1, 100))
def test_words_within_a_length_are_a_beginning(text, length):
    shown = words_within(text, length)
    assert text.startswith(shown) and len(shown) <= length


def test_only_ids_are_ids():
    assert synset_of("n01440764") == synset_of("n01440764_tench") == "n01440764"
    assert synset_of("n0144076") == synset_of("n014407641") == synset_of("01440764") == ""


NAMES = ("n02086240", "PolarBear", "7")


async def imported(system, root, names=None, classes=NAMES):
    write_folder(root / "train", classes)
    return await system.import_folder(root / "train", display_names=names)


@pytest.mark.parametrize(
    "method", ["mvc", "simple", "clip_templates", "cond_embed_cutmix_dropout", "contextual"]
)
async def test_every_method_calls_a_class_by_its_one_name(tmp_path, method):
    async with open_system(tmp_path / "state", tmp_path) as system:
        dataset = await imported(system, tmp_path, {"7": "fire truck"})
        assert [one.display_name for one in dataset.classes] == [
            "fire truck", "polar bear", "Shih-Tzu",
        ]  # fmt: skip
        made = await system.augment(method=method)
        rows = rows_of(system.store, made.result.manifest_uri)
        texts = {candidate.text for candidate in system.trouble.texts}
    assert {row["class_name"] for row in rows} == set(NAMES)
    called = {"n02086240": "Shih-Tzu", "PolarBear": "polar bear", "7": "fire truck"}
    for row in rows:
        name = called[row["class_name"]]
        assert name in row["prompt"] and row["class_name"] not in row["prompt"]
        assert json.loads(row["lineage"])["display_name"] == name
    assert texts == {f"a photo of a {name}" for name in called.values()}


async def test_retrieval_searches_by_the_one_name(tmp_path):
    pool = write_pool(tmp_path / "pool.parquet")
    async with open_system(tmp_path / "state", tmp_path) as system:
        await imported(system, tmp_path)
        made = await system.augment(method="retrieval", pool_uri=f"file://{pool}")
        rows = rows_of(system.store, made.result.manifest_uri)
    assert {json.loads(row["lineage"])["display_name"] for row in rows} == {
        "7", "polar bear", "Shih-Tzu",
    }  # fmt: skip


async def test_names_that_say_nothing_are_warnings_of_the_dataset(tmp_path):
    async with open_system(tmp_path / "state", tmp_path) as system:
        dataset = await imported(system, tmp_path)
    assert [text for text in dataset.warnings if "mean nothing" in text] == [
        "1 of 3 class names mean nothing to a model: '7'; give --names FILE with a line for each, "
        "such as '7 = fire truck'"
    ]


async def test_a_name_for_a_class_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    async with open_system(tmp_path / "state", tmp_path) as system:
        failed = await imported(system, tmp_path, {"PolarBaer": "polar bear"})
    assert failed.error.code == 3  # INVALID_ARGUMENT
    assert "'PolarBaer'" in failed.error.message
    assert "did you mean 'PolarBear'" in failed.error.message


async def test_other_names_are_another_request(tmp_path, fails):
    async with open_system(tmp_path / "state", tmp_path) as system:
        await imported(system, tmp_path, {"7": "fire truck"})
        error = await fails(imported(system, tmp_path, {"7": "fire engine"}))
    assert error.code.name == "ALREADY_EXISTS"


async def test_a_class_whose_name_is_blank_falls_short_alone(tmp_path):
    async with open_system(tmp_path / "state", tmp_path) as system:
        await imported(system, tmp_path, classes=("_", "cat"))
        made = await system.augment(method="simple")
    assert made.result.accepted_count == 3
    [short] = made.result.shortfalls
    assert short.class_name == "_" and "blank" in short.reason and "--names" in short.reason
