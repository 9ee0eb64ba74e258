"""Finds what is needed in a store in which services go on to write.

Whatever names an object has found it in the store, or has put it there, not long before: that makes
it young (`ObjectStore.renew`). So an object that was old when the search began, and that nothing
named which the search has seen, will be named by nobody. What is named by unfinished work is named
by the manifests that come of it before the work's own notes are deleted; so those are read first.
"""

import io
from collections.abc import Iterator
from typing import IO, cast

from gateway.cli.garbage.ledger import UNKNOWN, Ledger
from gateway.cli.references import damaged, is_document, references
from servicekit.errors import NotFound
from servicekit.storage import KINDS, Entry, Keep, ObjectFile, ObjectStore, kind_of

_WORK, _INDEXES = "work/", "indexes/"
_DONE = "resource.json"
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}


def trace(store: ObjectStore, ledger: Ledger) -> None:
    """Fills the ledger with all objects, and with what is needed.

    Raises CliError for a document that is damaged, and ServiceError.
    """
    ledger.add(_known(store, _WORK))
    _need_work(store, ledger)
    _read_on(store, ledger)
    ledger.add(_known(store, ""))
    ledger.need(_roots(ledger))
    _read_on(store, ledger)


def _known(store: ObjectStore, prefix: str) -> Iterator[tuple[Entry, int]]:
    for entry in store.entries(prefix):
        kind = kind_of(entry.key)
        yield entry, UNKNOWN if kind is None else _NUMBERS[kind]


def _need_work(store: ObjectStore, ledger: Ledger) -> None:
    """Needs the notes of work that is not finished; what finished work left is free."""
    states: dict[str, bool] = {}
    for entry, _ in ledger.objects():
        subject = subject_of(entry.key)
        if subject not in states:
            states = {subject: store.exists(f"{subject}/{_DONE}")}  # Keys come in order.
        if not states[subject]:
            ledger.need([entry.key])


def subject_of(key: str) -> str:
    """Returns the resource that a note of work is of, as "datasets/pets/augmentations/a1"."""
    parts = key.split("/")[1:]
    return "/".join(parts[: 4 if parts[2:3] == ["augmentations"] else 2])


def _roots(ledger: Ledger) -> Iterator[str]:
    for entry, number in ledger.objects():
        keep = KINDS[number].keep if number != UNKNOWN else None
        if keep is Keep.ASKED or (keep is Keep.PARTS and not _is_built(ledger, entry.key)):
            yield entry.key


def _is_built(ledger: Ledger, key: str) -> bool:
    return ledger.has("/".join([*key.split("/")[:2], "index.json"]))


def _read_on(store: ObjectStore, ledger: Ledger) -> None:
    """Reads what is needed, and what that needs, and so on."""
    for key in ledger.to_read():
        if not is_document(key) or kind_of(key) is None:
            continue
        try:
            ledger.need(_references(store, key))
        except NotFound:
            _look_again(store, ledger, key)


def _references(store: ObjectStore, key: str) -> Iterator[str]:
    try:
        file = ObjectFile(store, key) if key.endswith(".parquet") else io.BytesIO(store.get(key))
        yield from references(cast(IO[bytes], file), key)
    except ValueError as error:  # pyarrow's errors are such, too
        raise damaged(f"{key} in the store") from error


def _look_again(store: ObjectStore, ledger: Ledger, key: str) -> None:
    """What was there a moment ago has given way to what was made of it, in the same resource."""
    folder = "/".join(key.split("/")[:2])
    if key.startswith(_WORK):
        return  # Its resource is looked at after all work.
    if ledger.has(key):
        ledger.add(_known(store, f"{folder}/"))
        ledger.need(one for one in list(ledger.inside(folder)) if one != key)
