"""Text for a terminal: paragraphs, entries in two columns and commands, at the terminal's width."""

import shutil
import textwrap
from collections.abc import Iterable

# Wider lines are hard to read; narrower ones would break names and options.
_MOST, _LEAST = 80, 30
# Where the second column begins, and the narrowest text that has room beside the first.
_INDENT, _GAP, _COLUMN, _NARROW = 2, 2, 24, 60


def width() -> int:
    """Returns how long lines may be: the terminal's width (or COLUMNS), within reason."""
    return max(_LEAST, min(_MOST, shutil.get_terminal_size().columns))


def wrapped(text: str, indent: int = 0) -> str:
    """Returns the text in lines; words are never broken, so that they can be copied."""
    lines = textwrap.wrap(
        text, width() - indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
    return textwrap.indent("\n".join(lines), " " * indent)


def entries(pairs: Iterable[tuple[str, str]]) -> str:
    """Returns a term and its text per entry, side by side where the terminal has the room."""
    listed = list(pairs)
    room = _COLUMN - _INDENT - _GAP
    longest = max((len(term) for term, _ in listed if len(term) <= room), default=0)
    column = _INDENT + longest + _GAP
    return "\n".join(_entry(term, text, column) for term, text in listed)


def command(line: str) -> str:
    """Returns a command line, broken as a shell takes it where it is too long."""
    lines = textwrap.wrap(
        line, width() - 2 * _INDENT, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
    return " " * _INDENT + f" \\\n{' ' * 2 * _INDENT}".join(lines)


def _entry(term: str, text: str, column: int) -> str:
    start = " " * _INDENT + term
    if width() < _NARROW:
        return f"{start}\n{wrapped(text, 3 * _INDENT)}"
    body = wrapped(text, column)
    return start + body[len(start) :] if len(start) + _GAP <= column else f"{start}\n{body}"
