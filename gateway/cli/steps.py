"""What several commands do with the gateway: import images, check classes, store a pool."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.failures import SHORTFALL, CliError, unknown
from gateway.cli.inputs import (
    DATASET,
    USUAL,
    Reading,
    dataset_id,
    local_path,
    pool_file,
    source_uri,
)
from gateway.cli.naming import names_line
from gateway.cli.outputs import is_output
from gateway.cli.session import Session
from gateway.cli.subset import WHOLE, Subset, drawn, drawn_line
from gateway.cli.test_sets import TestSets

_LAYOUTS = {"auto": pb.FOLDER_LAYOUT_UNSPECIFIED, "classes": pb.FOLDER_LAYOUT_CLASSES}
_UNREACHED = {
    "UNREADABLE",
    "FILE_MISSING",
    "OUTSIDE_ROOT",
    "BAD_LINK",
    "NOT_A_FILE",
    "NAME_NOT_UTF8",
    "BAD_SHARD",
}


async def import_images(
    session: Session,
    train: str,
    test: str | None,
    subset: Subset = WHOLE,
    name: str | None = None,
    display_names: Mapping[str, str] | None = None,
    refuse_leaks: bool = False,
    reading: Reading = USUAL,
) -> pb.Dataset:
    """Imports once; the same unchanged files are found again and not imported twice.

    `display_names` are what texts call classes, where people chose it.
    """
    called = display_names or {}
    if (folder := local_path(train)) and is_output(folder):
        session.view.say(f"warning: {train} was made by variegate; its images count as real here")
    if train.startswith(DATASET):
        if test or subset != WHOLE or called or refuse_leaks or reading != USUAL:
            raise CliError(
                f"{train} was imported already, so how it is read cannot be chosen any more.",
                remedy="Leave out --test, --shots, --fraction, --names and the like, or give the "
                "folder.",
                reason="DATASET_IMPORTED",
            )
        dataset = await imported(session, train.removeprefix(DATASET))
        _say(session, dataset)
        return dataset
    request = pb.ImportDatasetRequest(
        dataset_id=name or dataset_id(train, test, subset, called, refuse_leaks, reading),
        source=pb.DatasetSource(
            train_uri=source_uri(train),
            test_uri=source_uri(test) if test else "",
            display_names=called,
            refuse_leaks=refuse_leaks,
            layout=_LAYOUTS[reading.layout],
            follow_links=reading.follow_links,
            image_column=reading.image_column,
            label_column=reading.label_column,
            **subset.fields(),
        ),
    )
    operation = await session.call(session.gateway.ImportDataset, request)
    dataset = await session.finished(operation, pb.Dataset(), part="import")
    _say(session, dataset)
    return dataset


async def imported(session: Session, name: str) -> pb.Dataset:
    """The dataset that was imported under a name. Raises CliError naming the nearest."""
    known = await _dataset_names(session)
    if name not in known:
        raise unknown("dataset", name, known, listing="`variegate import --name NAME` makes one.")
    request = pb.GetDatasetRequest(name=f"datasets/{name}")
    dataset = await session.call(session.gateway.GetDataset, request)
    if not dataset.digest:
        raise CliError(
            f"The dataset {name!r} is not imported to the end.",
            exit_code=3,
            remedy="Repeat the `variegate import` that began it.",
            reason="DATASET_UNFINISHED",
        )
    return dataset


async def _dataset_names(session: Session) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        request = pb.ListDatasetsRequest(page_size=1000, page_token=token)
        page = await session.call(session.gateway.ListDatasets, request)
        names += [dataset.name.removeprefix("datasets/") for dataset in page.datasets]
        if not (token := page.next_page_token):
            return names


async def import_test_sets(
    session: Session, test_sets: TestSets, reading: Reading
) -> list[tuple[str, pb.Dataset]]:
    """Imports further test sets. All of their images are tested on, whichever split their folders
    make of them."""
    return [
        (name, await import_images(session, place, None, reading=reading))
        for name, place in test_sets
    ]


def _say(session: Session, dataset: pb.Dataset) -> None:
    if line := names_line(dataset):
        session.view.say(line)
    if line := drawn_line(dataset):
        session.view.say(line)
    for warning in dataset.warnings:
        session.view.say(f"warning: {warning}")
    if dataset.rejected_files:
        first = dataset.rejected_files[0]
        session.view.say(f"warning: {left_out(dataset)}; for example {first.path}: {first.message}")


def left_out_count(dataset: pb.Dataset) -> int:
    """How many files were left out; the dataset lists but the first of them."""
    return sum(one.file_count for one in dataset.rejected_counts) or len(dataset.rejected_files)


def left_out(dataset: pb.Dataset) -> str:
    """How many files were left out, and how many for which reason."""
    counts = {one.reason: one.file_count for one in dataset.rejected_counts}
    each = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    total = left_out_count(dataset)
    said = "1 file was left out" if total == 1 else f"{total:,} files were left out"
    return said + (f" ({each})" if each else "")


def shortfall(dataset: pb.Dataset) -> int:
    """The exit code of what was not read: SHORTFALL if files could not be reached, else 0.

    Files that were read and are no images, or copies, are listed and lose nothing.
    """
    return SHORTFALL if any(one.reason in _UNREACHED for one in dataset.rejected_counts) else 0


async def models_of(
    session: Session, methods: Sequence[str], *, deterministic: bool, trains: bool = False
) -> dict[str, str]:
    """Returns what the system would use for these methods now: models by role."""
    request = pb.ListModelsRequest(
        methods=methods, deterministic=deterministic, include_training=trains
    )
    return dict((await session.call(session.gateway.ListModels, request)).models)


def check_classes(asked: Iterable[str], dataset: pb.Dataset) -> None:
    """Raises CliError for a class that the dataset does not have."""
    known = [entry.class_name for entry in dataset.classes]
    for name in asked:
        if name not in known:
            raise unknown("class", name, known, listing="Class names are the folders' names.")


async def store_pool(session: Session, pool: str | None) -> str:
    """Puts a pool into the object store, once, and returns its URI; "" without one."""
    path = pool_file(pool) if pool else None
    if path is None:
        return pool or ""
    from datafiles.places.place import locate
    from datafiles.places.pools import store_pool

    store = session.connection.need_store()
    place = locate(path.as_uri(), store=store, roots=(str(path.parent),), field="pool")
    return await asyncio.to_thread(store_pool, store, place, "pool")


def dataset_document(dataset: pb.Dataset) -> dict[str, Any]:
    """A dataset for --json."""
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "manifest_uri": dataset.manifest_uri,
        "classes": [
            {
                "class_name": entry.class_name,
                "display_name": entry.display_name,
                "label": entry.label,
                "train_count": entry.train_count,
                "test_count": entry.test_count,
                "validation_count": entry.validation_count,
            }
            for entry in dataset.classes
        ],
        "subset": drawn(dataset),
        "rejected_files": [
            {"path": file.path, "reason": file.reason, "message": file.message}
            for file in dataset.rejected_files
        ],
        "rejected_counts": {one.reason: one.file_count for one in dataset.rejected_counts},
        "warnings": list(dataset.warnings),
    }
