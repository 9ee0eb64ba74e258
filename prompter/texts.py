"""Cleaning and comparing short texts."""

import re

_SMALL_WORDS = frozenset(
    {
        *("a", "an", "and", "are", "as", "at", "by", "for", "from", "her", "his", "in", "into"),
        *("is", "it", "its", "of", "off", "on", "onto", "or", "out", "over", "photo", "that"),
        *("the", "their", "there", "this", "to", "under", "up", "which", "while", "who", "with"),
    }
)
_LIKENESS = 0.8


def first_sentence(text: str) -> str:
    """Returns the first sentence on one line, without brackets, quotes, end mark or cut-off tail.

    A text with no end mark was cut by the token limit: it ends at its last comma if half of it
    stays, and never on a small word such as "with a".
    """
    line = re.sub(r"\s*\([^)]*\)?", "", text.strip().split("\n")[0]).strip("\"'* ")
    match = re.match(r"(.+?)[.!?](?:\s|$|\")", line)
    if match:
        return _tidy(match[1])
    head, comma, _ = line.rpartition(",")
    return _tidy(head if comma and len(head) * 2 >= len(line) else line)


def continued(opening: str, text: str) -> str:
    """Returns the first sentence of `text`, cleaning only what follows `opening`.

    The opening has the class name, which may have brackets or full stops of its own.
    """
    if not text.lower().startswith(opening.lower()):
        return first_sentence(text)
    rest = text[len(opening) :]
    gap = rest[: len(rest) - len(rest.lstrip(" ,:-"))]
    tail = first_sentence(rest)
    return f"{opening}{gap}{tail}" if tail else opening


def content_words(text: str) -> frozenset[str]:
    """Returns the words that carry meaning, in lower case."""
    return frozenset(re.findall(r"\w+", text.lower())) - _SMALL_WORDS


def are_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Says whether two sets of content words are nearly the same (Jaccard index >= 0.8)."""
    return len(one & other) >= _LIKENESS * len(one | other)


def _tidy(text: str) -> str:
    words = re.sub(r"\s+", " ", text).strip(" ,;:-\"'*").split(" ")
    while len(words) > 1 and words[-1].lower().strip(",;:") in _SMALL_WORDS:
        words.pop()
    return " ".join(words).strip(" ,;:-")
