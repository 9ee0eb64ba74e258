"""Ids and seeds that depend on content alone, never on order, batch or time."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

# One for all: `json.dumps` would make an encoder for each text.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

Plain = None | bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"]


def canonical(value: Plain) -> str:
    """Returns the one JSON text of `value`: sorted keys, no spaces, ASCII, no NaN."""
    return _ENCODER.encode(value)


def digest(*parts: Plain, length: int = 32) -> str:
    """Returns the first `length` hexadecimal digits of the SHA-256 of the parts."""
    return hashlib.sha256(canonical(list(parts)).encode()).hexdigest()[:length]


def digest_of_hex(chunks: Iterable[bytes]) -> str:
    """Returns `digest(data.hex())` of data in chunks, without a text that is twice as large."""
    found = hashlib.sha256(b'["')
    for data in chunks:
        found.update(data.hex().encode())
    found.update(b'"]')
    return found.hexdigest()[:32]


def seed_of(*parts: Plain) -> int:
    """Returns a 64-bit seed that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(canonical(list(parts)).encode()).digest()[:8], "big")


def sha256_of(data: bytes) -> str:
    """Returns the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
