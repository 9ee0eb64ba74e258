"""Reads untrusted texts and JSON: whatever goes wrong concerns one file only."""

import codecs
import json
from typing import Any

MAX_BYTES = 2**20
# Marks that Windows programs put first. UTF-16 without one is not guessed.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(ValueError):
    """A text, value or file that cannot be used. `reason` is machine-readable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def read_text(data: bytes) -> str:
    """Returns the text, without a byte-order mark. Raises Unreadable if it is no UTF-8."""
    check_size(len(data))
    try:
        return data.decode(encoding_of(data))
    except UnicodeError as error:
        raise Unreadable("NOT_UTF8", "is not text in UTF-8; save it as UTF-8") from error


def encoding_of(start: bytes) -> str:
    """Returns the encoding that the mark at the start of a text says; without one UTF-8."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def read_json(data: bytes) -> dict[str, Any]:
    """Returns the object of a JSON file. Raises Unreadable for anything else."""
    text = read_text(data)
    try:
        found = json.loads(text)
    # Depth, size of numbers, surrogates: whatever a parser raises says that the file is bad.
    except (ValueError, RecursionError, OverflowError, MemoryError) as error:
        why = (
            "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON: {error}"
        )
        raise Unreadable("BAD_JSON", why) from error
    if not isinstance(found, dict):
        raise Unreadable("BAD_JSON", "is not a JSON object; write {...}")
    return found


def check_size(size: int) -> None:
    """Raises Unreadable for a text that is too long to be one about an image."""
    if size > MAX_BYTES:
        raise Unreadable("TEXT_TOO_LONG", f"has {size} bytes; at most {MAX_BYTES} are read")
