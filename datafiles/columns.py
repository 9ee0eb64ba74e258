"""What the columns of a parquet file hold: which is the image, which the label, and its names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datafiles.labels import CLASS_NAME, LABEL, Label, label_of, label_of_fields
from datafiles.samples import BY_THE_RULES, Chosen
from datafiles.texts import Unreadable

# Columns of images, the first that there is: ours, Hugging Face's, then those of img2dataset,
# which names them after the encoding.
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Columns:
    """The columns of a file: `image` "" if there is none, and those of the label.

    `names` are the classes' names of a column of numbers, as the file's schema gives them.
    """

    image: str
    labels: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    is_chosen: bool = False

    def label(self, row: Mapping[str, object]) -> Label:
        """Returns the label of a row. Raises Unreadable."""
        for name in self.labels:
            if isinstance(value := row[name], Unreadable):
                raise value
        if self.is_chosen or (self.labels and not {*self.labels} & {CLASS_NAME, LABEL}):
            name = self.labels[0]
            return label_of(row[name], self.names.get(name, ()))
        if CLASS_NAME in self.names:  # Numbers, whatever the column is called.
            return label_of(row[CLASS_NAME], self.names[CLASS_NAME])
        return label_of_fields(row, self.names.get(LABEL, ()))


def columns_of(schema: pa.Schema, chosen: Chosen = BY_THE_RULES) -> Columns:
    """Returns the columns of images and labels in a schema.

    Without class_name and label the only column with names of classes is the label. Raises
    Unreadable with the reason COLUMNS_MISSING if what `chosen` names is not there, or is no image.
    """
    if len(set(schema.names)) < len(schema.names):
        raise _missing(schema, "some of them twice; name each column once")
    names = class_names(schema)
    for what, name in (("image", chosen.image), ("label", chosen.label)):
        if name and name not in schema.names:
            raise _missing(schema, f"not the {what} column {name!r}")
    if chosen.image and not holds_bytes(schema, chosen.image):
        raise _missing(schema, f"but {chosen.image!r} holds no bytes of images")
    images = (chosen.image,) if chosen.image else IMAGE_COLUMNS
    image = next((name for name in images if holds_bytes(schema, name)), "")
    if chosen.label:
        return Columns(image, (chosen.label,), names, is_chosen=True)
    labels = tuple(name for name in (CLASS_NAME, LABEL) if name in schema.names)
    if not labels and len(names) == 1:
        labels = tuple(names)
    return Columns(image, labels, names)


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Returns the names of classes by column, from the metadata that Hugging Face's datasets write.

    Damaged metadata gives none: then numbers are numbers.
    """
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        facts: Any = json.loads(text)
    except (ValueError, RecursionError, OverflowError, MemoryError):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    places = [facts, facts.get("info") if isinstance(facts, dict) else None]
    for place in places:
        features = place.get("features") if isinstance(place, dict) else None
        for column, feature in features.items() if isinstance(features, dict) else ():
            if column in schema.names and (names := _names(feature)):
                found[str(column)] = names
    return found


def _names(feature: Any) -> tuple[str, ...]:
    """Returns the names of a ClassLabel: a list, or a mapping of numbers as in a dataset card."""
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):
        try:
            numbered = {int(number): name for number, name in names.items()}
        except ValueError:
            return ()
        if sorted(numbered) != list(range(len(numbered))):
            return ()
        names = [numbered[number] for number in range(len(numbered))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)


def holds_bytes(schema: pa.Schema, name: str) -> bool:
    """Says whether a column holds files: bytes, or a struct with a field `bytes`."""
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if isinstance(kind, pa.StructType):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yields the rows of a batch; a value that Python cannot hold is an Unreadable in its place."""
    columns = {name: values_of(batch.column(at)) for at, name in enumerate(batch.schema.names)}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def values_of(column: Any) -> Sequence[Any]:
    """Returns the values of an Arrow array; one that Python cannot hold is an Unreadable."""
    try:
        return column.to_pylist()
    # Texts that are not UTF-8, times out of range: one value's fault, not the batch's.
    except (ValueError, OverflowError, pa.ArrowException):
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable("BAD_VALUE", f"a value cannot be read: {error}")


def _missing(schema: pa.Schema, why: str) -> Unreadable:
    names = ", ".join(schema.names)
    return Unreadable("COLUMNS_MISSING", f"has the columns {names}, {why}")
