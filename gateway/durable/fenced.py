"""The object store as work sees it: nothing is written for a gateway that has lost its lease.

The store itself cannot tell a former owner's writes from those of the gateway that took its work
over. Most keys are digests of what they hold, so that both write the same; the few that are written
over are made of recorded steps alone. This keeps a process that was frozen from writing at all.
"""

from collections.abc import Callable, Iterable, Iterator

from servicekit.errors import Unavailable
from servicekit.storage import Entry, ObjectStore


class FencedStore:
    """An object store that takes nothing while `holds` says no."""

    def __init__(self, store: ObjectStore, holds: Callable[[], bool]) -> None:
        self._store, self._holds = store, holds

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        """Raises Unavailable for a gateway that has lost its lease."""
        self._check(key)
        return self._store.put(key, data, overwrite=overwrite)

    def put_chunks(self, key: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        """Raises Unavailable for a gateway that has lost its lease, also if it loses it midway."""

        def checked() -> Iterator[bytes]:
            for chunk in chunks():
                yield chunk
                self._check(key)

        self._check(key)
        self._store.put_chunks(key, checked)

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def read(self, key: str, start: int, count: int) -> bytes:
        return self._store.read(key, start, count)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def size(self, key: str) -> int:
        return self._store.size(key)

    def version(self, key: str) -> str:
        return self._store.version(key)

    def list(self, prefix: str) -> Iterator[str]:
        return self._store.list(prefix)

    def entries(self, prefix: str) -> Iterator[Entry]:
        return self._store.entries(prefix)

    def renew(self, key: str) -> bool:
        """Raises Unavailable for a gateway that has lost its lease."""
        self._check(key)
        return self._store.renew(key)

    def discard(self, key: str, before: float) -> bool:
        """Raises Unavailable for a gateway that has lost its lease."""
        self._check(key)
        return self._store.discard(key, before)

    def discard_halves(self, before: float, *, dry_run: bool) -> tuple[int, int]:
        """Raises Unavailable for a gateway that has lost its lease."""
        self._check("half-written objects")
        return self._store.discard_halves(before, dry_run=dry_run)

    def delete(self, key: str) -> None:
        """Raises Unavailable for a gateway that has lost its lease."""
        self._check(key)
        self._store.delete(key)

    def link(self, key: str, seconds: int) -> str:
        return self._store.link(key, seconds)

    def _check(self, key: str) -> None:
        if not self._holds():
            raise Unavailable(
                f"this gateway's lease has expired, so {key} is no longer written; another gateway "
                "continues the work",
                reason="LEASE_LOST",
            )
