"""Refuses runs whose test result would mean nothing: test images must stay unseen.

Four ways lead a test image into training, and each is closed: a synthetic image made from an image
outside the declared training subset, or with what was learned of one, a synthetic or retrieved
image that is a test image, and a test image among the real training images.

"Is" means the same file or the same pixels in the same size. Copies that were saved again, resized
or cropped are looked for where images are imported, made and retrieved, and are not proven absent.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from servicekit.errors import InvalidArgument, Precondition
from trainer.manifests import Images, Manifest

_NAMED = 5

# pyarrow's stubs know less of its functions and columns than is used of them here.
pc: Any = pyarrow.compute
Column = Any

Rows = NDArray[np.int64]
_NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class Selection:
    """The images of one run. Labels are places in `class_names`.

    `train_rows`, `test_rows` and `validation_rows` are the places of `train`, `test` and
    `validation` in the dataset's manifest; a run without validation has none of the last.
    """

    class_names: tuple[str, ...]
    train: Images
    test: Images
    synthetic: Images
    train_rows: Rows
    test_rows: Rows
    validation: Images
    validation_rows: Rows

    @property
    def training_ids(self) -> Column:
        """The ids of all images to train on, the real ones first."""
        return _joined(self.train, self.synthetic, "item_id")

    def labels(self, images: Images) -> Rows:
        """The labels of some of the images."""
        names = pa.array(self.class_names, pa.string())
        labels = pc.index_in(images.column("class_name"), value_set=names)
        return np.asarray(labels.to_numpy(), np.int64)


def select(
    manifest: Manifest,
    train_item_ids: Sequence[str],
    synthetic: Images,
    field: str = "training_run",
    *,
    needs_test: bool = True,
    validates: bool = False,
) -> Selection:
    """Chooses a run's images and refuses those that break the rules above.

    `field` is what the request calls the run. One that `validates` is given the images of the split
    "validation", to choose by.

    Everything that the manifests alone can tell is checked here; equal pixels are checked by
    `check_pixels`. Raises InvalidArgument for unknown ids and Precondition for the rest.
    """
    images = manifest.images
    train_rows = _training_rows(images, train_item_ids, field)
    test_rows = _rows_of(images, "test")
    if not len(train_rows) or (needs_test and not len(test_rows)):
        part = "test" if len(train_rows) else "train"
        raise Precondition(
            f"the dataset has no image of the split {part!r}; import it again with both splits",
            subject=f"{field}.manifest_uri",
            reason="SPLIT_EMPTY",
        )
    validation_rows = _validation_rows(images, field) if validates else _NO_ROWS
    train, test, validation = (
        images.take(pa.array(rows)) for rows in (train_rows, test_rows, validation_rows)
    )
    selection = Selection(
        _classes(images),
        train,
        test,
        synthetic,
        train_rows,
        test_rows,
        validation,
        validation_rows,
    )
    _check_labels(selection)
    _check_parents(selection)
    used = _joined(train, synthetic, "sha256")
    for split, kept in (("test", test), ("validation", validation)):
        _refuse_twins(selection, split, kept, kept.column("sha256"), used)
    return selection


def check_test_set(selection: Selection, name: str, images: Images) -> None:
    """Refuses a test set of other classes, or with a training image. Raises Precondition."""
    known = set(selection.class_names)
    unknown = sorted(set(images.column("class_name").unique().to_pylist()) - known)
    if unknown or not len(images):
        what = f"has classes that the dataset lacks: {_names(unknown)}" if unknown else "is empty"
        raise Precondition(
            f"the test set {name!r} {what}; give images of the dataset's classes, in folders of "
            "the same names",
            subject="training_run.test_sets",
            reason="UNKNOWN_CLASS" if unknown else "TEST_SET_EMPTY",
        )
    used = _joined(selection.train, selection.synthetic, "sha256")
    _refuse_twins(selection, "test", images, images.column("sha256"), used)


def check_pixels(
    selection: Selection,
    train: Column,
    synthetic: Column,
    kept: Sequence[tuple[str, Images, Column]],
) -> None:
    """Refuses training images with the very pixels of an image that is kept from training.

    The columns are pixel digests, in the order of the selection; `kept` are the images to test with
    and those of further test sets ("test"), and those to choose by ("validation"), each with their
    digests. Raises Precondition.
    """
    for split, images, digests in kept:
        _refuse_twins(selection, split, images, digests, pa.chunked_array([train, synthetic]))


def check_learned(selection: Selection, tuning: str, learned_from: Column) -> None:
    """Refuses images that were made with what a tuning learned of images that are not declared.

    `learned_from` are item ids. Raises Precondition.
    """
    declared = selection.train.column("item_id")
    outside = learned_from.filter(pc.invert(pc.is_in(learned_from, value_set=declared))).to_pylist()
    if outside:
        raise Precondition(
            f"synthetic images were made with what {tuning} learned of {len(outside)} images "
            f"outside the declared training subset: {_names(outside)}; make them with an artefact "
            "that was learned of the images that train_item_ids names, or declare those images",
            subject=tuning,
            reason="LEARNED_OUTSIDE_TRAINING_SUBSET",
        )


def _rows_of(images: Images, split: str) -> Rows:
    return np.flatnonzero(pc.equal(images.column("split"), split).to_numpy())


def _validation_rows(images: Images, field: str) -> Rows:
    rows = _rows_of(images, "validation")
    if not len(rows):
        raise Precondition(
            "the dataset has no image of the split 'validation'; import it again with a "
            "validation_fraction, or leave validation out",
            subject=f"{field}.manifest_uri",
            reason="SPLIT_EMPTY",
        )
    return rows


def _training_rows(images: Images, wanted: Sequence[str], field: str) -> Rows:
    if not wanted:
        return _rows_of(images, "train")
    ids: Column = pa.chunked_array([pa.array(wanted, pa.string())])
    found = pc.index_in(ids, value_set=images.column("item_id"))
    unknown = ids.filter(found.is_null()).to_pylist()
    repeated = [item_id for item_id, count in Counter(wanted).items() if count > 1]
    if unknown or repeated:
        what = "not in the manifest" if unknown else "more than once"
        raise InvalidArgument(
            f"train_item_ids names items {what}: {_names(unknown or repeated)}",
            field=f"{field}.train_item_ids",
        )
    splits = images.column("split").take(found)
    outside = pc.not_equal(splits, "train")
    if foreign := ids.filter(outside).to_pylist():
        found = sorted(splits.filter(outside).unique().to_pylist())
        raise Precondition(
            f"train_item_ids names {len(foreign)} images of the {' and the '.join(found)} split: "
            f"{_names(foreign)}; "
            "train on images of the split 'train' only",
            subject=foreign[0],
            reason=f"{found[0].upper()}_IMAGE_IN_TRAINING",
        )
    return np.asarray(found.to_numpy(), np.int64)


def _classes(images: Images) -> tuple[str, ...]:
    """Class names by label order. Raises Precondition if a label has two names or a name two."""
    known: Any = images.group_by(["label", "class_name"]).aggregate([]).sort_by("label")
    names, labels = known.column("class_name").to_pylist(), known.column("label").to_pylist()
    if len(set(labels)) != len(labels) or len(set(names)) != len(names):
        raise Precondition(
            "the dataset's labels and class names do not match one to one; import it again",
            subject="training_run.manifest_uri",
            reason="MANIFEST_INVALID",
        )
    return tuple(names)


def _check_labels(selection: Selection) -> None:
    used = selection.synthetic.column("class_name").unique().to_pylist()
    unknown = set(used) - set(selection.class_names)
    if unknown:
        raise Precondition(
            f"the synthetic manifest has classes that the dataset lacks: {_names(sorted(unknown))}"
            "; make it from this dataset",
            subject="training_run.synthetic_manifest_uri",
            reason="UNKNOWN_CLASS",
        )


def _check_parents(selection: Selection) -> None:
    parents = pa.concat_arrays(selection.synthetic.column("parents").chunks)
    named, declared = pc.list_flatten(parents), selection.train.column("item_id")
    outside = pc.invert(pc.is_in(named, value_set=declared))
    bad = pc.list_parent_indices(parents).filter(outside)
    if len(bad):
        ids = selection.synthetic.column("item_id").take(bad.unique()).to_pylist()
        first = sorted(set(named.filter(outside).filter(pc.equal(bad, bad[0])).to_pylist()))
        raise Precondition(
            f"{len(ids)} synthetic images have parents outside the declared training subset: "
            f"{_names(ids)} (parent {_names(first)}); make them from the images that "
            "train_item_ids names, or declare those images",
            subject=ids[0],
            reason="PARENT_OUTSIDE_TRAINING_SUBSET",
        )


def _refuse_twins(
    selection: Selection, split: str, kept: Images, digests: Column, used: Column
) -> None:
    """`digests` are those of the images `kept` for a split, `used` those of all training images."""
    twins = pc.index_in(used, value_set=digests)
    mask = twins.is_valid()
    ids = selection.training_ids.filter(mask).to_pylist()
    if ids:
        others = kept.column("item_id").take(twins.filter(mask)).to_pylist()
        pairs = zip(ids, others, strict=True)
        named = _names([f"{item_id} = {split} image {other}" for item_id, other in pairs])
        raise Precondition(
            f"{len(ids)} training images are {split} images: {named}; remove them from one side",
            subject=ids[0],
            reason=f"{split.upper()}_IMAGE_IN_TRAINING",
        )


def _joined(one: Images, other: Images, name: str) -> Column:
    return pa.chunked_array([*one.column(name).chunks, *other.column(name).chunks], pa.string())


def _names(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
