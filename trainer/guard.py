"""Refuses runs whose test result would mean nothing: test images must stay unseen.

Three ways lead a test image into training, and each is closed: a synthetic image made from an
image outside the declared training subset, a synthetic or retrieved image that is a test image,
and a test image among the real training images.

"Is" means the same file or the same pixels in the same size. Copies that were saved again, resized
or cropped are looked for where images are imported, made and retrieved, and are not proven absent.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from servicekit.errors import InvalidArgument, Precondition
from trainer.manifests import Item, Manifest, SyntheticItem

_NAMED = 5

Digest = TypeVar("Digest", bound=Hashable)


@dataclass(frozen=True)
class Selection:
    """The images of one run. Labels are places in `class_names`."""

    class_names: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    synthetic: tuple[SyntheticItem, ...]
    label_of: Mapping[str, int]

    @property
    def training(self) -> tuple[Item | SyntheticItem, ...]:
        """All images to train on, the real ones first."""
        return (*self.train, *self.synthetic)


def select(
    manifest: Manifest, train_item_ids: Sequence[str], synthetic: Sequence[SyntheticItem]
) -> Selection:
    """Chooses a run's images and refuses those that break the rules above.

    Everything that the manifests alone can tell is checked here; equal pixels are checked by
    `check_pixels`. Raises InvalidArgument for unknown ids and Precondition for the rest.
    """
    train = _training_items(manifest, train_item_ids)
    test = tuple(item for item in manifest.items if item.split == "test")
    if not train or not test:
        part = "train" if not train else "test"
        raise Precondition(
            f"the dataset has no image of the split {part!r}; import it again with both splits",
            subject="training_run.manifest_uri",
            reason="SPLIT_EMPTY",
        )
    label_of = _classes(manifest.items)
    selection = Selection(tuple(label_of), train, test, tuple(synthetic), label_of)
    _check_labels(selection)
    _check_parents(selection)
    files = {item.sha256: item.item_id for item in test}
    _refuse_test_images(files, [(item.item_id, item.sha256) for item in selection.training])
    return selection


def check_pixels(
    selection: Selection,
    train: Sequence[Digest],
    test: Sequence[Digest],
    synthetic: Sequence[Digest],
) -> None:
    """Refuses training images with the very pixels of a test image, whatever their file.

    The sequences are pixel digests in the order of the selection. Raises Precondition.
    """
    known = {digest: item.item_id for digest, item in zip(test, selection.test, strict=True)}
    items = selection.training
    digests = (*train, *synthetic)
    _refuse_test_images(
        known, [(item.item_id, digest) for item, digest in zip(items, digests, strict=True)]
    )


def _training_items(manifest: Manifest, wanted: Sequence[str]) -> tuple[Item, ...]:
    if not wanted:
        return tuple(item for item in manifest.items if item.split == "train")
    by_id = {item.item_id: item for item in manifest.items}
    unknown = [item_id for item_id in wanted if item_id not in by_id]
    repeated = [item_id for item_id, count in Counter(wanted).items() if count > 1]
    if unknown or repeated:
        what = "not in the manifest" if unknown else "more than once"
        raise InvalidArgument(
            f"train_item_ids names items {what}: {_names(unknown or repeated)}",
            field="training_run.train_item_ids",
        )
    foreign = [item_id for item_id in wanted if by_id[item_id].split != "train"]
    if foreign:
        raise Precondition(
            f"train_item_ids names {len(foreign)} images of the test split: {_names(foreign)}; "
            "train on images of the split 'train' only",
            subject=foreign[0],
            reason="TEST_IMAGE_IN_TRAINING",
        )
    return tuple(by_id[item_id] for item_id in wanted)


def _classes(items: Iterable[Item]) -> dict[str, int]:
    """Class names by label order. Raises Precondition if a label has two names or a name two."""
    pairs = sorted({(item.label, item.class_name) for item in items})
    names = [name for _, name in pairs]
    if len({label for label, _ in pairs}) != len(pairs) or len(set(names)) != len(names):
        raise Precondition(
            "the dataset's labels and class names do not match one to one; import it again",
            subject="training_run.manifest_uri",
            reason="MANIFEST_INVALID",
        )
    return {name: place for place, name in enumerate(names)}


def _check_labels(selection: Selection) -> None:
    unknown = {item.class_name for item in selection.synthetic} - set(selection.label_of)
    if unknown:
        raise Precondition(
            f"the synthetic manifest has classes that the dataset lacks: {_names(sorted(unknown))}"
            "; make it from this dataset",
            subject="training_run.synthetic_manifest_uri",
            reason="UNKNOWN_CLASS",
        )


def _check_parents(selection: Selection) -> None:
    declared = {item.item_id for item in selection.train}
    bad = [item for item in selection.synthetic if not declared.issuperset(item.parents)]
    if bad:
        outside = sorted(set(bad[0].parents) - declared)
        raise Precondition(
            f"{len(bad)} synthetic images have parents outside the declared training subset: "
            f"{_names([item.item_id for item in bad])} (parent {_names(outside)}); make them from "
            "the images that train_item_ids names, or declare those images",
            subject=bad[0].item_id,
            reason="PARENT_OUTSIDE_TRAINING_SUBSET",
        )


def _refuse_test_images(test: Mapping[Digest, str], used: Iterable[tuple[str, Digest]]) -> None:
    """`test` is item ids by digest, `used` pairs of item id and digest."""
    pairs = [(item_id, test[digest]) for item_id, digest in used if digest in test]
    if pairs:
        named = _names([f"{item_id} = test image {test_id}" for item_id, test_id in pairs])
        raise Precondition(
            f"{len(pairs)} training images are test images: {named}; remove them from one side",
            subject=pairs[0][0],
            reason="TEST_IMAGE_IN_TRAINING",
        )


def _names(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
