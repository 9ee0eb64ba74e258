"""What every object store is: where everything that outlives a call is kept.

A put of an existing key is a no-op, so keys are content digests or deterministic ids, and nothing
is ever half-visible. Keys are paths of letters, digits and ``-_.=+@`` joined by "/".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from servicekit.errors import InvalidArgument, NotFound

_KEY = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9_.=+@-]*(/[A-Za-z0-9_=+@-][A-Za-z0-9_.=+@-]*)*")
# What file systems and S3 take.
_LONGEST_KEY, _LONGEST_PART = 900, 255
_SCHEME = "store:"

# Reasons of errors of a store that last until a person has done something about it.
LASTING = frozenset(
    {
        "BUCKET_MISSING",
        "STORE_ACCESS_DENIED",
        "STORE_BROKEN",
        "STORE_CLOCK_SKEW",
        "STORE_FULL",
        "STORE_READ_ONLY",
        "STORE_TLS",
    }
)


# An object that is found where it would have been stored counts as new if it is older than this.
RENEWED_SECONDS = 3600.0


@dataclass(frozen=True)
class Entry:
    """An object without its content: bytes, and when it was last stored or found again, in seconds
    since 1970 by the store's clock."""

    key: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Bytes by key. Thread-safe and synchronous; wrap calls in asyncio.to_thread."""

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        """Stores `data` atomically. Returns False if the key exists, which is renewed then."""

    def put_chunks(self, key: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        """Stores what `chunks` gives, atomically, over what is there, in bounded memory.

        `chunks` is called again where a first try fails.
        """

    def get(self, key: str) -> bytes:
        """Returns the bytes. Raises NotFound."""

    def read(self, key: str, start: int, count: int) -> bytes:
        """Returns `count` bytes (1 or more) from the byte `start` (0 or more) on.

        They are fewer, or none, at the object's end. Raises NotFound.
        """

    def exists(self, key: str) -> bool:
        """Says whether the key exists."""

    def size(self, key: str) -> int:
        """Returns the number of bytes. Raises NotFound."""

    def version(self, key: str) -> str:
        """Returns what changes when the object is replaced, without reading it. Raises NotFound."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yields the keys that start with `prefix`, sorted."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yields what `list` names, in bounded memory and in no particular order."""

    def renew(self, key: str) -> bool:
        """Lets an object that is about to be named by another be as young as a new one, to within
        `RENEWED_SECONDS`, so that it is not discarded. Returns False if it does not exist."""

    def delete(self, key: str) -> None:
        """Removes the key; a no-op if it does not exist."""

    def discard(self, key: str, before: float) -> bool:
        """Removes an object that was neither stored nor renewed since `before`, in seconds since
        1970; says whether it did."""

    def discard_halves(self, before: float, *, dry_run: bool) -> tuple[int, int]:
        """Removes what writers that died before then left half-written; returns number and bytes.

        With `dry_run` they are only counted. Stores that others clean up answer 0.
        """

    def link(self, key: str, seconds: int) -> str:
        """Returns a URL by which anyone who has it may read the object, at most 7 days (604,800
        seconds) long; "" from a store that has no such URLs."""


def to_uri(key: str) -> str:
    """Returns the URI of a key, "store:KEY", which holds in any kind of store."""
    return _SCHEME + check_key(key)


def to_key(uri: str, field: str = "uri") -> str:
    """Returns the key of a "store:KEY" URI. Raises InvalidArgument naming `field`."""
    if not uri.startswith(_SCHEME):
        raise InvalidArgument(
            f"{uri!r} is not an object store URI; write store:KEY", field=field, reason="BAD_URI"
        )
    return check_key(uri.removeprefix(_SCHEME), field)


def check_key(key: str, field: str = "key") -> str:
    """Returns the key. Raises InvalidArgument if it could leave the store or break a back end."""
    is_long = len(key) > _LONGEST_KEY or max(map(len, key.split("/"))) > _LONGEST_PART
    if is_long or not _KEY.fullmatch(key):
        raise InvalidArgument(
            f"{key!r} is not an object key; use letters, digits and -_.=+@ in parts of at most "
            f"{_LONGEST_PART} joined by /, at most {_LONGEST_KEY} in all",
            field=field,
            reason="BAD_KEY",
        )
    return key


def missing(key: str) -> NotFound:
    """Returns the error of a key that does not exist."""
    return NotFound(f"no object {key} in the store", resource=f"store:{key}")


def get_many(store: ObjectStore, keys: Sequence[str], workers: int = 8) -> list[bytes]:
    """Returns the bytes of all keys, in order, reading `workers` at a time."""
    if len(keys) < 2 or workers < 2:
        return [store.get(key) for key in keys]
    with ThreadPoolExecutor(min(workers, len(keys))) as pool:
        return list(pool.map(store.get, keys))


def delete_many(store: ObjectStore, keys: Sequence[str], workers: int = 8) -> None:
    """Removes all keys, `workers` at a time."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(store.delete, keys))


def check_store(store: ObjectStore) -> None:
    """Raises the ServiceError that keeps the store from being read, such as a missing bucket."""
    with suppress(NotFound):
        store.get("health")  # It need not exist: only the way to it is tested.
