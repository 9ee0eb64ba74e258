"""Lineage of an image for people: the whole record, and how to make the image again."""

import json
from collections.abc import Mapping
from typing import Any

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
    command = " ".join(
        [
            f"variegate augment FOLDER --method {augmentation.arm.method}",
            f"--per-class {images_per_class} --seed {augmentation.seed}",
            *(
                f"--param {name}={value}"
                for name, value in sorted(augmentation.arm.parameters.items())
            ),
            "--deterministic --out OUT",
        ]
    )
    parents = row.get("parents") or []
    source = f"of the {len(parents)} parent(s) below " if len(parents) else ""
    if row.get("source") == "retrieved":
        again = f"Image {_text(row, 'image_uri')} was found in the pool, not made: search again."
    else:
        again = (
            f"Model {_text(row, 'model')} (digest {_text(row, 'model_digest')[:16]}), seed "
            f"{row.get('seed')}, {row.get('steps')} steps, guidance "
            f"{_number(row.get('guidance_scale'))}, with the condition {source}as the lineage says."
        )
    return (
        again,
        f"The same plan makes all, this one as item {_text(row, 'item_id')[:16]}: {command}",
        "In deterministic mode on the same kind of device the pixels' SHA-256 is "
        f"{_text(row, 'sha256')[:16]}… again.",
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name) or "unknown")


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else "unknown"
