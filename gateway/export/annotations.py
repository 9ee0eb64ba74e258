"""What an exported manifest says beyond the one in the store: files, parents' files, class names.

A seed has 64 bits. Parquet holds it as uint64; JSON holds it as text, as protobuf's JSON does,
since many readers round or refuse such numbers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gateway.augment.tables import Manifest

_EXACT = 2**53  # Whole numbers up to here are exact in every reader of JSON.


@dataclass(frozen=True)
class Origin:
    """The dataset that images were made from: class names by label, and files by item id."""

    class_names: Mapping[int, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def origin_of(dataset_manifest: Manifest) -> Origin:
    """Returns what a dataset's manifest tells."""
    names: dict[int, str] = {}
    files: dict[str, str] = {}
    for table in dataset_manifest.groups("item_id", "source", "label", "class_name"):
        names |= names_of(table)
        columns = (table.column(name).to_pylist() for name in ("item_id", "source"))
        files.update(zip(*columns, strict=True))
    return Origin(names, files)


def names_of(table: pa.Table) -> dict[int, str]:
    """Returns the class names of a manifest by label."""
    pairs = table.group_by(["label", "class_name"], use_threads=False).aggregate([])
    return dict(zip(*(pairs.column(one).to_pylist() for one in pairs.column_names), strict=True))


def annotated(table: pa.Table, columns: Mapping[str, Sequence[Any]], origin: Origin) -> pa.Table:
    """Adds `columns` and `parent_files` to a manifest, and the class names to its schema.

    `parent_files` are the parents' places below what was imported, "" for one that is not known;
    they are null if the dataset is not known.
    """
    kinds = {"parent_files": pa.list_(pa.string()), "file_name": pa.string()}
    every: dict[str, Any] = dict(columns)
    parents = table.column("parents").to_pylist()
    every["parent_files"] = [
        [origin.files.get(one, "") for one in ids or ()] if origin.files else None
        for ids in parents
    ]
    for name, values in every.items():
        table = table.append_column(name, pa.array(values, kinds.get(name)))
    at = table.schema.get_field_index("label")
    table = table.set_column(at, "label", table.column("label").cast(pa.int64()))
    return table.replace_schema_metadata(_class_label(origin.class_names))


def for_json(value: Any, key: str = "") -> Any:
    """Returns a value with its seeds, and every number that a reader could round, as text."""
    if isinstance(value, Mapping):
        return {name: for_json(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(one, key) for one in value]
    if isinstance(value, int) and not isinstance(value, bool):
        is_seed = key == "seed" or key.endswith("_seed")
        return str(value) if is_seed or abs(value) > _EXACT else value
    return value


def lineage_for_json(text: str) -> str:
    """Returns the JSON text of a lineage as `for_json` wants it."""
    return json.dumps(for_json(json.loads(text)), sort_keys=True, ensure_ascii=False)


def _class_label(names: Mapping[int, str]) -> dict[str, str]:
    """The names of the labels in the words of Hugging Face's `datasets`, if all are known."""
    if sorted(names) != list(range(len(names))):
        return {}
    label = {"names": [names[at] for at in range(len(names))], "_type": "ClassLabel"}
    return {"huggingface": json.dumps({"info": {"features": {"label": label}}})}
