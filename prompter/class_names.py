"""The names of a dataset's classes, said once and named by their digest from then on."""

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Sequence

from servicekit.errors import Precondition

UNKNOWN = "CLASS_NAMES_UNKNOWN"
# Bytes of memory that are remembered; the list that was asked for last is always.
_MOST = 64 * 2**20
# Of a list besides its names, and of a name besides its text.
_LIST_BYTES, _NAME_BYTES = 512, 8


class ClassNames:
    """Lists of names by digest. Those that were not asked for the longest are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most, self._size = most, 0
        self._lists: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def add(self, names: Sequence[str]) -> str:
        """Remembers names; returns their digest, in hexadecimal."""
        digest = hashlib.sha256("\n".join(map(repr, names)).encode()).hexdigest()
        if digest not in self._lists:
            self._lists[digest] = tuple(names)
            self._size += _bytes_of(names)
        self._lists.move_to_end(digest)
        while self._size > self._most and len(self._lists) > 1:
            _, oldest = self._lists.popitem(last=False)
            self._size -= _bytes_of(oldest)
        return digest

    def get(self, digest: str) -> tuple[str, ...]:
        """Returns the names of a digest, none for "". Raises Precondition if it is not known."""
        if not digest:
            return ()
        if digest not in self._lists:
            raise Precondition(
                f"the class names {digest} are not known here; say them with RegisterClassNames",
                subject=digest,
                reason=UNKNOWN,
            )
        self._lists.move_to_end(digest)
        return self._lists[digest]


def _bytes_of(names: Sequence[str]) -> int:
    return _LIST_BYTES + sum(_NAME_BYTES + sys.getsizeof(name) for name in names)
