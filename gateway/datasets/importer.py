"""Imports a dataset: scan, look at every image, select, store, write the manifest."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

from datafiles.places.layout import TEST, TRAIN, VALIDATION
from datafiles.places.splits import Part, check_places, find_parts
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen
from gateway.api.resources import Dataset, DatasetClass, DatasetSource
from gateway.datasets import leaks, manifest
from gateway.datasets.inspect import Inspected, inspect
from gateway.datasets.manifest import DatasetItem
from gateway.datasets.naming import ClassNames, named
from gateway.datasets.protocols import Subset
from gateway.datasets.select import (
    Drawn,
    Selection,
    assumptions,
    draw,
    once_each,
    without_leaks,
)
from gateway.datasets.source import Entry, Note, source_of
from gateway.digests import digest
from servicekit.errors import InvalidArgument
from servicekit.escaping import escaped
from servicekit.storage import ObjectStore, to_uri

REPORTED_FILES = 1000
_WORKERS, _WINDOW, _SAID_EVERY = 4, 256, 1000

T = TypeVar("T")
R = TypeVar("R")
Report = Callable[[str, int, int], None]  # stage, done, total (0 if not known)


def import_dataset(
    dataset: Dataset, *, store: ObjectStore, roots: tuple[str, ...], report: Report
) -> Dataset:
    """Imports `dataset.source` and returns the dataset with everything filled in.

    Bad files are listed and never stop it. Raises InvalidArgument if a source cannot be read at
    all or holds no image that can be used.
    """
    source = dataset.source
    parts = find_parts(
        source.train_uri,
        source.test_uri,
        finds_layout=source.finds_layout,
        follow_links=source.follow_links,
        store=store,
        roots=roots,
    )
    check_places(parts)
    names = ClassNames()
    tested = TEST in parts
    with leaks.Thumbnails() as thumbnails:
        known = thumbnails if tested or source.subset.validation_fraction else None
        train = _read_split(parts[TRAIN], TRAIN, source, names, report, known)
        test = Selection()
        if tested:
            test = _read_split(parts[TEST], TEST, source, names, report, known)
        apart = without_leaks(train.kept, test.kept)
        drawn = draw(apart.kept, source.subset)
        near = leaks.near_copies(drawn.labelled, test.kept, thumbnails, report)
        repeated = leaks.near_copies(drawn.train, drawn.validation, thumbnails, report, VALIDATION)
    if source.refuse_leaks:
        leaks.refuse(drawn.labelled, near, exact=len(apart.rejected))
    apart.warnings.extend(leaks.warnings_of(drawn.labelled, near))
    apart.warnings.extend(leaks.validation_warnings_of(drawn.train, repeated))
    labels = _labels(drawn.train, test.kept)
    labelled, count = leaks.marked(drawn.labelled, near), len(drawn.train)
    splits = {TRAIN: labelled[:count], VALIDATION: labelled[count:], TEST: test.kept}
    items = [
        item
        for split, images in splits.items()
        for item in _store_split(images, split, labels, store, report)
    ]
    key = f"{dataset.name}/manifest.parquet"
    store.put(key, manifest.write(items), overwrite=True)
    selections = (train, test, apart)
    rejected = sorted((r for one in selections for r in one.rejected), key=lambda r: r.path)
    warnings = [*names.warnings(), *(text for one in selections for text in one.warnings)]
    warnings += assumptions([*drawn.labelled, *test.kept])
    if len(rejected) > REPORTED_FILES:
        warnings.append(f"{len(rejected)} files were left out; the first are listed")
    classes = _count(items, labels, drawn)
    warnings += _uneven(classes, source.subset, tested=tested)
    return replace(
        dataset,
        manifest_uri=to_uri(key),
        digest=manifest.digest_of(items),
        classes=classes,
        rejected_files=tuple(map(_shown, rejected[:REPORTED_FILES])),
        rejected_counts=tuple(sorted(Counter(file.reason for file in rejected).items())),
        warnings=tuple(map(escaped, warnings)),
    )


def _shown(file: RejectedFile) -> RejectedFile:
    """Names of files may hold anything; from here on they are for eyes."""
    return replace(file, path=escaped(file.path), message=escaped(file.message))


def _read_split(
    part: Part,
    split: str,
    source: DatasetSource,
    names: ClassNames,
    report: Report,
    thumbnails: leaks.Thumbnails | None,
) -> Selection:
    """Scans and inspects one split; copies within it are left out.

    With `thumbnails` those of good images are put away there, to be compared.
    """
    place, uri = part.place, part.place.uri
    entries: list[Entry] = []
    rejected: list[RejectedFile] = list(part.rejected)
    notes: list[str] = list(part.notes)
    chosen = Chosen(source.image_column, source.label_column)
    for found in source_of(place, part.field, chosen).scan(place, part.field, chosen):
        if isinstance(found, Note):
            notes.append(found.text)
            continue
        one = names.cleaned(found) if isinstance(found, Entry) else found
        if isinstance(one, Entry):
            entries.append(one)
        else:
            rejected.append(one)
        if not (len(entries) + len(rejected)) % _SAID_EVERY:
            report(f"list {split}", len(entries), 0)
    good: list[Inspected] = []
    looked_at = _parallel(partial(inspect, compared=thumbnails is not None), entries)
    for done, result in enumerate(looked_at, 1):
        if isinstance(result, RejectedFile):
            rejected.append(result)
        else:
            good.append(thumbnails.put_away(result) if thumbnails else result)
        report(f"inspect {split}", done, len(entries))
    if not good:
        raise _empty(uri, part.field, rejected)
    selection = once_each(good, split)
    selection.rejected.extend(rejected)
    empty = {e.class_name for e in entries} - {i.entry.class_name for i in good}
    unusable = [f"the class {name!r} of {uri} has no image that can be used" for name in empty]
    selection.warnings.extend([*notes, *sorted(unusable)])
    return selection


def _empty(uri: str, field: str, rejected: list[RejectedFile]) -> InvalidArgument:
    why = f"; the first problem: {rejected[0].message}" if rejected else ""
    return InvalidArgument(
        f"{uri} holds no image that can be used{why}. Put the images of each class into a folder "
        "with the name of the class",
        field=field,
        reason="EMPTY_DATASET",
    )


def _labels(train: Iterable[Inspected], test: Iterable[Inspected]) -> dict[str, int]:
    names = {image.entry.class_name for image in (*train, *test)}
    return {name: label for label, name in enumerate(sorted(names))}


def _store_split(
    images: list[Inspected],
    split: str,
    labels: dict[str, int],
    store: ObjectStore,
    report: Report,
) -> list[DatasetItem]:
    def put(image: Inspected) -> DatasetItem:
        if not store.exists(image.key):
            store.put(image.key, image.entry.read())
        name = image.entry.class_name
        return DatasetItem(
            item_id=digest("dataset item", split, name, image.sha256),
            image_uri=to_uri(image.key),
            label=labels[name],
            class_name=name,
            split=split,
            sha256=image.sha256,
            width=image.width,
            height=image.height,
            source=image.entry.path,
            note="; ".join(image.notes) or None,
        )

    items = []
    for done, item in enumerate(_parallel(put, images), 1):
        items.append(item)
        report(f"store {split}", done, len(images))
    return items


def _count(
    items: list[DatasetItem], labels: dict[str, int], drawn: Drawn
) -> tuple[DatasetClass, ...]:
    counts = Counter((item.class_name, item.split) for item in items)
    return tuple(
        DatasetClass(
            name,
            label,
            counts[name, TRAIN],
            counts[name, TEST],
            validation_count=counts[name, VALIDATION],
            available_count=drawn.available.get(name, 0),
        )
        for name, label in labels.items()
    )


def _uneven(counts: tuple[DatasetClass, ...], subset: Subset, *, tested: bool) -> list[str]:
    warnings = []
    for entry in counts:
        if not entry.train_count:
            warnings.append(f"the class {entry.class_name!r} has no training images")
        if tested and not entry.test_count:
            warnings.append(f"the class {entry.class_name!r} has no test images")
    if single := [entry.class_name for entry in counts if entry.train_count == 1]:
        warnings.append(f"classes of one training image: {named(single)}")
    unseen = [c.class_name for c in counts if c.train_count and not c.validation_count]
    if subset.validation_fraction and unseen:
        warnings.append(f"classes without a validation image, for they have one: {named(unseen)}")
    return warnings


def _parallel(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Maps in order with a few threads; at most a window of values is in the works."""
    iterator = iter(values)
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        while window := list(islice(iterator, _WINDOW)):
            yield from pool.map(function, window)
    finally:
        # Stopping the import does not wait for the rest of the window.
        pool.shutdown(cancel_futures=True)
