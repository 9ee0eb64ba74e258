"""The pictures of a report: accepted images beside their real parents, and rejected ones."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gateway.augment.tables import Manifest, lowest_of_classes
from gateway.study.lineage import full_lineage, how_to_make_it_again
from gateway.study.pictures import data_uri
from gateway.study.records import AugmentationRecord
from servicekit.errors import ServiceError
from servicekit.storage import ObjectStore, to_key

# Base64 characters of pictures and lineage in one report; keeps it below about 5 MB.
BUDGET = 4_000_000
_PARENTS = 3  # Of a child that are shown.
# The longest that S3 servers grant.
LINK_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Parent:
    """A real image that a child was made from. `picture` is a data URI."""

    item_id: str
    picture: str


@dataclass(frozen=True)
class Child:
    """An accepted image. `lineage` is its full record, `again` how to make it again.

    `original` is a link to the image as it was made, which holds for LINK_SECONDS; "" where the
    store has no such links.
    """

    item_id: str
    class_name: str
    picture: str
    prompt: str
    retrieved: bool
    parents: tuple[Parent, ...]
    lineage: Mapping[str, Any]
    again: tuple[str, ...]
    original: str = ""


@dataclass(frozen=True)
class Rejected:
    """A rejected image and why. `picture` is empty if the image itself was not kept."""

    item_id: str
    class_name: str
    picture: str
    reason: str
    message: str
    prompt: str


@dataclass(frozen=True)
class MethodGallery:
    """The pictures of one row of the study. `classes` maps class name to children."""

    label: str
    classes: Mapping[str, tuple[Child, ...]]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Gallery:
    """All pictures of a report, in the order of the rows."""

    methods: tuple[MethodGallery, ...] = ()


def build_gallery(
    store: ObjectStore,
    dataset_uris: Mapping[int, str],
    augmentations: Sequence[AugmentationRecord],
    *,
    images_per_class: int,
    children_per_class: int = 3,
    rejected_per_method: int = 12,
    budget: int = BUDGET,
) -> Gallery:
    """Picks pictures from the first augmentation of every arm.

    Children come from the manifest in order of their item ids, so they are not hand-picked: good
    and bad images alike. With many methods or classes fewer are shown, never a larger file.
    `dataset_uris` are the manifests of the real images, by seed.
    """
    datasets = {uri: Manifest(store, uri) for uri in dict.fromkeys(dataset_uris.values())}
    first: dict[object, AugmentationRecord] = {}
    for augmentation in augmentations:
        first.setdefault(augmentation.arm.key, augmentation)
    share = budget // max(1, len(first))
    return Gallery(
        tuple(
            _Picker(store, datasets[dataset_uris[one.seed]], one, images_per_class, share).pick(
                children_per_class, rejected_per_method
            )
            for one in first.values()
        )
    )


class _Picker:
    """Picks the pictures of one augmentation within a budget of characters."""

    def __init__(
        self,
        store: ObjectStore,
        dataset: Manifest,
        augmentation: AugmentationRecord,
        images_per_class: int,
        budget: int,
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._parents: dict[str, str] = {}  # URIs by item id, of those of chosen children.
        self._augmentation = augmentation
        self._images_per_class = images_per_class
        self._left = budget

    def pick(self, children_per_class: int, rejected_count: int) -> MethodGallery:
        """Rejected images first, since few show much; then children round by round."""
        uri = self._augmentation.rejected_uri
        rows = _some_of_reasons(Manifest(self._store, uri), rejected_count) if uri else []
        rejected = [self._rejected(row) for row in _spread(rows, rejected_count)]
        by_class: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._first_of_classes(children_per_class):
            by_class.setdefault(row["class_name"], []).append(row)
        children: dict[str, list[Child]] = {name: [] for name in by_class}
        for round_ in range(children_per_class):
            for name, of_class in by_class.items():
                if round_ < len(of_class) and self._left > 0:
                    children[name].append(self._child(of_class[round_]))
        return MethodGallery(
            self._augmentation.arm.label,
            {name: tuple(shown) for name, shown in children.items()},
            tuple(rejected),
        )

    def _first_of_classes(self, count: int) -> list[dict[str, Any]]:
        """Returns the rows of each class with the lowest ids, by label and id, and notes where
        their parents are: two looks at the manifest, of which the first is at few columns."""
        manifest = Manifest(self._store, self._augmentation.manifest_uri)
        places = lowest_of_classes(manifest.groups("class_name", "item_id"), count)
        ids = places.column("item_id").to_pylist() if places else []
        rows: list[dict[str, Any]] = manifest.with_ids(set(map(str, ids))).to_pylist()
        parents = {one for row in rows for one in (row.get("parents") or [])[:_PARENTS]}
        found = self._dataset.with_ids(parents, "item_id", "image_uri")
        columns = (found.column(name).to_pylist() for name in ("item_id", "image_uri"))
        self._parents = dict(zip(*columns, strict=True))
        return sorted(rows, key=lambda row: (row["label"], row["item_id"]))

    def _child(self, row: Mapping[str, Any]) -> Child:
        parents = [
            Parent(item_id, self._picture(self._parents[item_id]))
            for item_id in list(row.get("parents") or [])[:_PARENTS]
            if item_id in self._parents
        ]
        lineage = full_lineage(row)
        self._left -= len(json.dumps(lineage, default=str))
        return Child(
            item_id=row["item_id"],
            class_name=row["class_name"],
            picture=self._picture(row["image_uri"]),
            prompt=str(row.get("prompt") or ""),
            retrieved=row.get("source") == "retrieved",
            parents=tuple(parents),
            lineage=lineage,
            again=how_to_make_it_again(row, self._augmentation, self._images_per_class),
            original=self._store.link(to_key(row["image_uri"]), LINK_SECONDS),
        )

    def _rejected(self, row: Mapping[str, Any]) -> Rejected:
        uri = str(row.get("image_uri") or "")
        return Rejected(
            item_id=str(row.get("item_id") or ""),
            class_name=str(row.get("class_name") or ""),
            picture=self._picture(uri) if uri else "",
            reason=str(row.get("reason") or "UNKNOWN"),
            message=str(row.get("message") or ""),
            prompt=str(row.get("prompt") or ""),
        )

    def _picture(self, uri: str) -> str:
        """A data URI, or "" for an image that is gone: a report is not lost for a picture."""
        try:
            picture = data_uri(self._store.get(to_key(uri)))
        except (ServiceError, OSError):
            return ""
        self._left -= len(picture)
        return picture


def _spread(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """At most `count` rows, taking turns between reasons so that each is seen."""
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_reason.setdefault(str(row.get("reason")), []).append(row)
    turns = [row for group in by_reason.values() for row in enumerate(group)]
    return [row for _, row in sorted(turns, key=lambda turn: turn[0])][:count]


def _some_of_reasons(manifest: Manifest, count: int) -> list[dict[str, Any]]:
    """Returns the first `count` rejected images of each reason, in the order of the manifest."""
    found: Counter[str] = Counter()

    def choose(column: "pa.ChunkedArray[Any]") -> NDArray[np.int64]:
        reasons = np.array([str(one) for one in column.to_pylist()])
        chosen: list[int] = []
        for reason in np.unique(reasons).tolist():
            places = np.flatnonzero(reasons == reason)[: count - found[reason]].tolist()
            found[reason] += len(places)
            chosen += places
        return np.array(sorted(chosen), np.int64)

    rows: list[dict[str, Any]] = manifest.chosen("reason", choose).to_pylist()
    return rows
