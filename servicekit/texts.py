"""Texts on their way out: cut where they are too long to travel."""

import string
from urllib.parse import quote

from servicekit.escaping import escaped

# What gRPC sends as it is; all else takes three characters a byte, so at most twelve.
_UNCHANGED, _LONGEST_CHARACTER = string.printable.replace("%", "")[:-5], 12


def shortened(text: str, limit: int) -> str:
    """Returns `text`, escaped, with its middle cut out, and said so, if it is long.

    The length that counts, and that is at most `limit` then (which is at least 100), is
    `encoded_length`. Both ends stay: a sentence says first what is wrong and last what to do.
    """
    text = escaped(text, lines=True)
    if len(text) <= limit and encoded_length(text) <= limit:
        return text
    note = f" ... [cut, {len(text):,} characters in all] ... "
    room = (limit - encoded_length(note)) // 2
    return f"{_fitting(text, room)}{note}{_fitting(text[::-1], room)[::-1]}"


def encoded_length(text: str) -> int:
    """Returns the length of the text in a gRPC header, where it is percent-encoded."""
    return len(quote(text, safe=_UNCHANGED))


def _fitting(text: str, room: int) -> str:
    """Returns as much of the start of `text` as fits."""
    kept = text[:room]
    while (excess := encoded_length(kept) - room) > 0:
        kept = kept[: -max(excess // _LONGEST_CHARACTER, 1)]
    return kept
