"""WordNet's nouns: what a name can mean."""

import lzma
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

NOUNS = Path(__file__).parent / "data" / "wordnet_nouns.tsv.xz"

# "n02085620" and, as in Stanford Dogs, "n02085620-Chihuahua".
_OFFSET = re.compile(r"n(\d{8})(?:[\s._-].*)?")
_SENSE_NAME = re.compile(r"(.+)\.n\.(\d{1,3})")

# WordNet's rules of detachment for nouns: the ending of a plural and of its singular.
_PLURALS = (
    ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
    ("men", "man"), ("ies", "y"), ("s", ""),
)  # fmt: skip

# Names of more words are not tried with every choice of hyphens.
_MOST_PARTS = 5


@dataclass(frozen=True)
class Sense:
    """One meaning. Lemmas and hypernyms are written with spaces."""

    name: str
    lemmas: tuple[str, ...]
    definition: str
    hypernyms: tuple[str, ...]


@dataclass(frozen=True)
class _Tables:
    synsets: list[str]
    words: dict[str, tuple[int, list[int]]] = field(repr=False)

    def fields(self, row: int) -> list[str]:
        """Returns offset, lemmas, definition and hypernym rows of a synset."""
        return self.synsets[row].split("\t")

    @cached_property
    def row_of_offset(self) -> dict[str, int]:
        return {line[:8]: row for row, line in enumerate(self.synsets)}


class WordNet:
    """Looks names up. The table is read at the first look-up, in about half a second."""

    def __init__(self, path: Path = NOUNS) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._loaded: _Tables | None = None

    def senses(self, name: str) -> list[Sense]:
        """Returns the senses of a class name, the most frequent first; none if it is unknown.

        "fire_truck", "Fire Truck", "fire-truck", plurals and ImageNet ids ("n02084071", also with
        a name behind it) are understood. Senses whose frequency WordNet never counted keep its
        order, except that kinds of things come before individuals: the bird before the poet Hart
        Crane.
        """
        tables = self._tables()
        if match := _OFFSET.fullmatch(name.strip()):
            row = tables.row_of_offset.get(match[1])
            return [] if row is None else [self._sense(tables, row)]
        for word in _spellings(name):
            if word in tables.words:
                counted, rows = tables.words[word]
                rest = sorted(rows[counted:], key=lambda row: _is_individual(tables, row))
                return [self._sense(tables, row) for row in (*rows[:counted], *rest)]
        return []

    def sense(self, name: str) -> Sense | None:
        """Returns the sense called `name`, for example "dog.n.01", or None."""
        match = _SENSE_NAME.fullmatch(name.strip())
        if match is None:
            return None
        _, rows = self._tables().words.get(_underscored(match[1]), (0, []))
        position = int(match[2]) - 1
        return self._sense(self._tables(), rows[position]) if 0 <= position < len(rows) else None

    def _tables(self) -> _Tables:
        with self._lock:
            if self._loaded is None:
                self._loaded = _read(self._path)
            return self._loaded

    def _sense(self, tables: _Tables, row: int) -> Sense:
        _, lemmas, definition, hypernyms = tables.fields(row)
        first = lemmas.partition("|")[0].lower()
        number = tables.words[first][1].index(row) + 1
        parents = [int(mark.removeprefix("i")) for mark in hypernyms.split(",") if mark]
        return Sense(
            name=f"{first}.n.{number:02}",
            lemmas=tuple(lemmas.replace("_", " ").split("|")),
            definition=definition,
            hypernyms=tuple(_first_lemma(tables, parent) for parent in parents),
        )


@lru_cache(maxsize=1)  # read once a process, however many servers it runs
def _read(path: Path) -> _Tables:
    synsets, _, words = lzma.decompress(path.read_bytes()).decode().partition("\n\n")
    index = {}
    for line in words.splitlines():
        word, counted, rows = line.split("\t")
        index[word] = (int(counted), [int(row) for row in rows.split(",")])
    return _Tables(synsets.split("\n"), index)


def has_id(name: str) -> bool:
    """Says whether a class name is an ImageNet id or begins with one."""
    return _OFFSET.fullmatch(name.strip()) is not None


def _first_lemma(tables: _Tables, row: int) -> str:
    return tables.fields(row)[1].partition("|")[0].replace("_", " ")


def _is_individual(tables: _Tables, row: int) -> bool:
    return tables.fields(row)[3].startswith("i")


def _underscored(name: str) -> str:
    return re.sub(r"[\s_]+", "_", name.strip().lower()).strip("_")


def _spellings(name: str) -> Iterator[str]:
    word = _underscored(name)
    forms = [word, word.replace("-", "_"), word.replace("_", "-"), re.sub("[-_]", "", word)]
    forms += _hyphenated(word)
    yield from forms
    for form in forms:
        for plural, singular in _PLURALS:
            if form.endswith(plural):
                yield form.removesuffix(plural) + singular


def _hyphenated(word: str) -> Iterator[str]:
    """Yields "black-footed_albatross" for "black_footed_albatross", and so on."""
    parts = re.split("[-_]", word)
    if 2 < len(parts) <= _MOST_PARTS:
        for marks in product("_-", repeat=len(parts) - 1):
            yield "".join(f"{part}{mark}" for part, mark in zip(parts, (*marks, ""), strict=True))
