"""Finds where the training and the test images of a source are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from datafiles.places.archive_place import check_unpacked, entered
from datafiles.places.layout import (
    TEST,
    TRAIN,
    Layout,
    UnclearLayout,
    find_layout,
    find_test,
)
from datafiles.places.listing import listed
from datafiles.places.place import Place, locate
from datafiles.rejected import RejectedFile
from servicekit.errors import InvalidArgument
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class Part:
    """The images of one split. `field` is the field of the request that gave them.

    `notes` are for people. `rejected` is what cannot be read of the place that was given, beside
    `place`; whoever reads `place` finds the rest.
    """

    place: Place
    field: str
    notes: tuple[str, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()


def find_parts(
    train_uri: str,
    test_uri: str,
    *,
    finds_layout: bool,
    follow_links: bool,
    store: ObjectStore,
    roots: tuple[str, ...],
    name: Callable[[Place], str] = lambda place: place.uri,
) -> dict[str, Part]:
    """Returns the parts by split; without test images there is TRAIN alone.

    An empty URI is of a split that was not given; without `finds_layout` the first folders are the
    classes. Where one place lies in the other, it is no part of that. `name` is what texts call a
    place.

    Raises InvalidArgument, with the reason LAYOUT_UNCLEAR where it cannot be told what the folders
    are.
    """
    given = {TRAIN: train_uri, TEST: test_uri}
    parts = {
        split: Part(
            locate(
                uri,
                store=store,
                roots=roots,
                field=f"source.{split}_uri",
                follow_links=follow_links,
            ),
            f"source.{split}_uri",
        )
        for split, uri in given.items()
        if uri
    }
    if len(parts) == 2:
        parts = {TRAIN: _apart(parts[TRAIN], parts[TEST]), TEST: _apart(parts[TEST], parts[TRAIN])}
    for split, part in parts.items():
        check_unpacked(part.place, part.field)
        parts[split] = replace(part, place=entered(part.place))
    if finds_layout:
        parts = _arranged(parts, name)
    return parts


def check_places(parts: dict[str, Part]) -> None:
    """Raises InvalidArgument if training and test images are the same."""
    if len(parts) == 2 and parts[TRAIN].place.path_of(parts[TEST].place) == "":
        raise InvalidArgument(
            f"{parts[TRAIN].place.uri} is given for training and to test with; give other images "
            "to test with",
            field=parts[TEST].field,
            reason="SAME_PLACE",
        )


def _apart(part: Part, other: Part) -> Part:
    """Leaves the other place out of a part that it lies in."""
    path = part.place.path_of(other.place)
    if not path:
        return part
    note = f"{path} is a part of its own and left out of {part.place.uri}"
    return replace(part, place=part.place.without(path), notes=(note,))


def _arranged(parts: dict[str, Part], name: Callable[[Place], str]) -> dict[str, Part]:
    with_test = TEST not in parts
    found = {TRAIN: _found(parts[TRAIN], lambda *of: find_layout(*of, with_test=with_test), name)}
    if not with_test:
        found[TEST] = _found(parts[TEST], find_test, name)
    arranged = {split: part for split, (part, _) in found.items()}
    test = found[TRAIN][1].test
    if test is not None:
        arranged[TEST] = Part(parts[TRAIN].place.below(test), parts[TRAIN].field)
    return arranged


def _found(
    part: Part, find: Callable[..., Layout], name: Callable[[Place], str]
) -> tuple[Part, Layout]:
    rejected: list[RejectedFile] = []

    def paths() -> Iterator[str]:
        for one in part.place.files():
            if isinstance(one, str):
                yield one
            else:
                rejected.append(one)

    try:
        layout = find(listed(paths()), name(part.place))
    except UnclearLayout as error:
        raise InvalidArgument(str(error), field=part.field, reason="LAYOUT_UNCLEAR") from error
    used = [f"{path}/" for path in (layout.train, layout.test) if path]
    beside = [one for one in rejected if layout.train and not one.path.startswith(tuple(used))]
    place = part.place.below(layout.train) if layout.train else part.place
    notes = (*part.notes, *layout.notes)
    return replace(part, place=place, notes=notes, rejected=tuple(beside)), layout
