"""What the folders of a place are: splits, classes, or one folder around everything.

It is decided on the listing alone, so the command line and the gateway decide alike. A split has a
name of `role_of` and holds classes; where names and contents disagree, nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datafiles.names import clean_name
from datafiles.places.listing import Folder
from datafiles.texts import Unreadable

TRAIN, TEST, VALIDATION = "train", "test", "validation"

_ROLES = {
    TRAIN: ("train", "training", "trn"),
    TEST: ("test", "testing", "tst", "holdout", "heldout"),
    VALIDATION: ("val", "valid", "validation", "validating", "dev", "eval", "evaluation"),
}
# As in training_set, Test Images, val2017.
_TAIL = re.compile(r"[-_. ]*(?:sets?|data|dataset|images?|imgs?|photos|split|\d{4})?$")
# As in imagenetTrain.tar.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class UnclearLayout(ValueError):
    """It cannot be told what the folders are. The text says what is there and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where the images are, as paths below the place; "" is the place itself.

    `test` is None without a split to test with. `notes` are for people.
    """

    train: str
    test: str | None = None
    notes: tuple[str, ...] = ()


def role_of(name: str) -> str | None:
    """Returns which split a folder of this name would be: TRAIN, TEST, VALIDATION or None."""
    stem = _TAIL.sub("", name.casefold(), count=1) or name.casefold()
    return next((role for role, names in _ROLES.items() if stem in names), None)


def check_one_split(column: str, values: Iterable[object]) -> None:
    """Raises Unreadable for a table whose column says that its rows are of several splits."""
    found = {role_of(str(value or "")): value for value in values}
    if len(found) > 1:
        shown = ", ".join(sorted(repr(value) for value in found.values()))
        raise Unreadable(
            "SPLITS_MIXED",
            f"has the column {column} with {shown} and the like: write the rows of each split into "
            "a file, and give one for training and another to test with (--test)",
        )


def find_layout(root: Folder, name: str, *, with_test: bool = True) -> Layout:
    """Returns where the training images of a place are, and those to test with.

    `name` is what the place is called in texts. Without `with_test` test images come from another
    place. Raises UnclearLayout.
    """
    path, splits, notes = _splits(root, name)
    if not splits:
        return Layout(path, None, tuple(notes))
    if TRAIN not in splits:
        raise _unclear(name, splits, f"only {_listed(splits.values())}, and no training images")
    here = {role: _join(path, folder) for role, folder in splits.items()}
    tested = next((role for role in (TEST, VALIDATION) if role in splits), None)
    used = {TRAIN: "for training"}
    if with_test and tested:
        used[tested] = "to test with"
    notes.append(_said(name, splits, used))
    train, inner = _inside(root, here[TRAIN], name)
    notes += inner
    if tested is None or tested not in used:
        return Layout(train, None, tuple(notes))
    test, inner = _inside(root, here[tested], name)
    _check_alike(root.below(train), root.below(test), name, splits)
    return Layout(train, test, (*notes, *inner))


def find_test(root: Folder, name: str) -> Layout:
    """Returns where the images of a place that is given for testing are, as `train`.

    Raises UnclearLayout.
    """
    path, splits, notes = _splits(root, name)
    if not splits:
        return Layout(path, None, tuple(notes))
    tested = next((role for role in (TEST, VALIDATION) if role in splits), None)
    if tested is None:
        raise _unclear(name, splits, f"only {_listed(splits.values())}, and no test images")
    notes.append(_said(name, splits, {tested: "to test with"}))
    test, inner = _inside(root, _join(path, splits[tested]), name)
    return Layout(test, None, (*notes, *inner))


def _splits(root: Folder, name: str) -> tuple[str, dict[str, str], list[str]]:
    """Returns the folder to look at, its splits by role (none: it holds classes), and notes."""
    path, notes = _unwrapped(root, name)
    here = root.below(path)
    place = _join(name, path)
    _check_shards(here, place)
    named = {folder: role for folder in here.folders if (role := role_of(folder))}
    if not named:
        return path, {}, notes
    splits = {role: folder for folder, role in named.items()}
    inside = [here.folders[folder] for folder in named]
    rest = [folder for folder in here.folders if folder not in named]
    if not rest and all(folder.holds_classes for folder in inside):
        if len(splits) < len(named):
            raise _unclear(place, splits, f"several folders for one split: {_listed(named)}")
        if here.images:
            notes.append(f"{place}: {here.images} images outside the splits are not used")
        if here.tables:
            notes.append(f"{place}: {_listed(here.tables)} beside the splits is not used")
        return path, splits, notes
    if rest and set(splits) == {TRAIN} and not any(folder.folders for folder in inside):
        notes.append(f"{place}: the folder {splits[TRAIN]!r} is a class, as {_listed(rest)}")
        return path, {}, notes
    if rest:
        what = f"{_listed(named)}, which look like splits, beside {_listed(rest)}"
    else:
        what = f"{_listed(named)}, which are named like splits but hold images themselves"
        if here.tables:
            what += f"; if {_listed(here.tables)} tells their classes, each needs one of its own"
    raise _unclear(place, splits, what)


def _unwrapped(root: Folder, name: str) -> tuple[str, list[str]]:
    """Goes through folders that are alone and hold nothing but folders; returns where that ends."""
    path, here, beside = "", root, 0
    while len(here.folders) == 1 and not here.is_whole:
        [(only, inner)] = here.folders.items()
        if role_of(only):
            break
        if inner.images and not inner.is_described:
            if len(inner.folders) > 1:
                raise _one_folder(_join(name, path), only)
            # One class, in a folder or in folders within folders: the first of them is the class.
            return "", _one_class(root, name)
        beside += here.images
        path, here = _join(path, only), inner
    if not (here.folders or here.is_whole):
        return "", []
    notes = [f"the classes are the folders of {_join(name, path)}"] if path else []
    if path and beside:
        notes.append(f"{name}: {beside} images that lie beside {path} are not used")
    return path, notes


def _one_class(root: Folder, name: str) -> list[str]:
    [(only, inner)] = root.folders.items()
    if not inner.folders:
        return []
    place = _join(name, only)
    return [f"{only!r} is the only class of {name}; if its folders are the classes, give {place}"]


def _one_folder(place: str, only: str) -> UnclearLayout:
    return UnclearLayout(
        f"{place} holds the one folder {only!r}, and that holds images and folders: it is not "
        f"clear what the classes are. Give {_join(place, only)} if they are its folders, or take "
        "the first folders for classes (--layout classes)"
    )


def _inside(root: Folder, path: str, name: str) -> tuple[str, list[str]]:
    """Returns where the classes of a split are: itself, or a folder around everything in it."""
    here, place = root.below(path), _join(name, path)
    _check_shards(here, place)
    role = role_of(path.rpartition("/")[2])
    if len(here.folders) == 1 and not here.is_whole:
        [(only, inner)] = here.folders.items()
        if role_of(only) == role and inner.holds_classes:  # training_set/training_set/cats
            return _inside(root, _join(path, only), name)
    inner_path, splits, notes = _splits(here, place)
    if splits:
        raise _unclear(place, splits, f"{_listed(splits.values())}, splits within a split")
    return _join(path, inner_path), notes


def _check_shards(here: Folder, place: str) -> None:
    """Raises UnclearLayout for shards of several splits in one folder, told by their names."""
    found: dict[str | None, str] = {}
    for shard in here.shards:
        words = re.split(r"[^a-z]+", _CAMEL.sub(" ", shard).casefold())
        roles = {role for word in words if word and (role := role_of(word))}
        for role in roles or (None,):
            found.setdefault(role, shard)
    # Files that name no split may go with those for training, but not with those to test with.
    if len(found) > 1 and set(found) != {TRAIN, None}:
        files = _listed(found.values())
        raise UnclearLayout(
            f"{place} holds files of several splits: {files}. Move those of each split into a "
            "folder, and give one for training and another to test with (--test)"
        )


def _check_alike(train: Folder, test: Folder, name: str, splits: Mapping[str, str]) -> None:
    if train.is_whole or test.is_whole:
        return
    ours, theirs = ({clean_name(f).casefold() for f in one.folders} for one in (train, test))
    if not ours & theirs:
        raise _unclear(name, splits, f"{_listed(splits.values())}, which share no class")


def _unclear(place: str, splits: Mapping[str, str], what: str) -> UnclearLayout:
    tested = splits.get(TEST) or splits.get(VALIDATION)
    ways = []
    if TRAIN in splits:
        ways.append(f"give {_join(place, splits[TRAIN])} for training")
    if tested:
        ways.append(f"give {_join(place, tested)} to test with (--test)")
    ways.append("take all folders for classes (--layout classes)")
    return UnclearLayout(f"{place} holds {what}: it is not clear what is meant. {_ways(ways)}")


def _ways(ways: list[str]) -> str:
    text = ", or ".join([" and ".join(ways[:-1]), ways[-1]] if ways[:-1] else ways)
    return text[0].upper() + text[1:]


def _said(name: str, splits: Mapping[str, str], used: Mapping[str, str]) -> str:
    said = [f"{splits[role]!r} is used {what}" for role, what in used.items()]
    unused = sorted(folder for role, folder in splits.items() if role not in used)
    said += [f"{_listed(unused)} not used"] if unused else []
    return f"the folders of {name} are splits: {', '.join(said)}"


def _listed(names: Iterable[str]) -> str:
    every = [repr(name) for name in sorted(names)]
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "")


def _join(*parts: str) -> str:
    return "/".join(part.rstrip("/") for part in parts if part)
