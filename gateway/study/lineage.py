"""Lineage of an image for people: the whole record, and how to make the image again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from gateway.api.row_images import RowImages
from gateway.study.records import AugmentationRecord


def full_lineage(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an augmentation manifest with its column `lineage` unfolded."""
    record = {name: value for name, value in row.items() if name != "lineage"}
    text = row.get("lineage") or "{}"
    try:
        record["lineage"] = json.loads(text)
    except json.JSONDecodeError:
        record["lineage"] = text
    return record


def how_to_make_it_again(
    row: Mapping[str, Any], augmentation: AugmentationRecord, images_per_class: int
) -> tuple[str, ...]:
    """The steps that give this image again, one sentence each."""
    command = [
        f"variegate augment FOLDER --method {augmentation.arm.method}",
        f"--per-class {_amount(augmentation, images_per_class)} --seed {augmentation.seed}",
        *(f"--param {name}={value}" for name, value in sorted(augmentation.arm.parameters.items())),
        *_options(augmentation.arm.images),
    ]
    if row.get("source") == "retrieved":
        how = "It was found in the pool, not made; searching the same pool again finds it."
        command.append("--pool POOL.parquet")
    else:
        how = (
            f"Model {_text(row, 'model')} (digest {_text(row, 'model_digest')[:16]}), seed "
            f"{row.get('seed')}, {row.get('steps')} steps, guidance "
            f"{_number(row.get('guidance_scale'))}, conditioned as the record says."
        )
        command.append("--deterministic")
    return (
        how,
        f"This command makes the whole set, this image as item {_text(row, 'item_id')[:16]}:",
        " ".join([*command, "--out OUT"]),
        f"The file's SHA-256 is then {_text(row, 'sha256')[:16]}… again: always for found images, "
        "for made ones in deterministic mode on the same kind of device.",
    )


def _amount(augmentation: AugmentationRecord, images_per_class: int) -> str:
    counts = augmentation.arm.images.class_counts
    each = (f"{name}={count}" for name, count in counts)
    return shlex.quote(",".join(each)) if counts else str(images_per_class)


def _options(images: RowImages) -> list[str]:
    options = []
    if images.negative_prompt:
        options.append(f"--negative-prompt {shlex.quote(images.negative_prompt)}")
    if images.keep:
        options.append(f"--make {images.make_factor:g} --keep {images.keep}")
    return options


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name) or "unknown")


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else "unknown"
