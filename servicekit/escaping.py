"""Text of strangers, safe to show: what a terminal obeys and what no encoding holds is spelled."""

import json
import re
from typing import Any

# Control characters, halves of surrogate pairs (bytes of a name that are not UTF-8 are read as
# such), marks that turn the direction of what follows, and separators of lines.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_UNSAFE_BUT_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def escaped(text: str, *, lines: bool = False) -> str:
    r"""Returns the text with every unsafe character spelled, such as "\x1b" or "\u202e".

    A byte of a file name that is not UTF-8 is shown as that byte, "\xff". All other characters
    stay as they are, a backslash too: the result is for eyes, not to be read back. With `lines`
    line ends stay. Applying it again changes nothing.
    """
    return (_UNSAFE_BUT_LINES if lines else _UNSAFE).sub(_spelled, text)


def json_text(document: Any, *, indent: int | None = 2) -> str:
    r"""Returns the document as JSON that is safe to show: unsafe characters are "\uXXXX" in it.

    It reads back as what it was.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return _UNSAFE_BUT_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode: the byte 0xff is read as U+DCFF
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
