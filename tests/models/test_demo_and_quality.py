"""The demo's photographs and the recorded quality of the models."""

import json
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.nano.recipe import photos
from models.nano.recipe.settings import NANO

COUNTS = {"target": 50, "test": 100, "pool": 1000}
FLOORS = {
    "clip_zero_shot": 0.65,
    "caption_class": 0.45,
    "generator_class": 0.60,
    "pix2pix_class": 0.60,
    "unclip_class": 0.60,
    "judge_accuracy": 0.70,
}


@cache
def table(part: str) -> pa.Table:
    return pq.read_table(NANO / "demo" / f"{part}.parquet")


@cache
def files(part: str) -> frozenset[bytes]:
    return frozenset(row["bytes"] for row in table(part)["image"].to_pylist())


@cache
def quality() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((NANO / "quality.json").read_text())
    return values


@pytest.mark.parametrize("part", COUNTS)
def test_a_demo_part_has_the_promised_columns_and_balance(part: str) -> None:
    columns = ["image", "label", "class_name"] + ["caption"] * (part == "pool")
    assert table(part).schema.names == columns
    assert table(part).schema.field("label").type == pa.int64()
    assert [field.name for field in table(part).schema.field("image").type] == ["bytes", "path"]
    labels = table(part)["label"].to_pylist()
    assert [labels.count(label) for label in range(10)] == [COUNTS[part]] * 10


def test_target_test_and_pool_share_no_photograph() -> None:
    assert len(files("target") | files("test") | files("pool")) == 10 * sum(COUNTS.values())


def test_demo_photographs_are_jpeg_files_of_32_pixels() -> None:
    assert photos.decode(next(iter(files("target")))).shape == (32, 32, 3)


def test_a_pool_caption_names_its_class() -> None:
    rows = table("pool").select(["caption", "class_name"]).to_pylist()
    assert all(row["class_name"] in row["caption"] for row in rows)


@pytest.mark.parametrize("name", FLOORS)
def test_a_model_is_at_least_as_good_as_its_floor(name: str) -> None:
    assert quality()[name] >= FLOORS[name]


def test_the_record_says_what_was_trained_where_and_how_well() -> None:
    wanted = {
        "clip_precision_at_10", "caption_colour", "frechet", "recall", "diversity",
        "nearest_training_distance", "guidance", "guidance_sweep", "trained_on", "torch_version",
        "minutes",
    }  # fmt: skip
    assert wanted <= quality().keys()
    assert {"text", "pix2pix", "unclip", "real_test"} <= quality()["frechet"].keys()
    assert all(len(trials) == 5 for trials in quality()["guidance_sweep"].values())


def test_the_shipped_guidance_is_the_measured_one() -> None:
    for mode, guidance in quality()["guidance"].items():
        values = json.loads((NANO / "diffusion" / mode / "variegate.json").read_text())
        assert values["guidance_scale"] == guidance


def test_generated_images_are_no_copies_of_training_photographs() -> None:
    distances = quality()["nearest_training_distance"]
    assert all(distances[mode] > 0.5 * distances["real_test"] for mode in distances)
