"""The files of --names and --pool-names: what texts call the classes, what numbers stand for.

Read by its suffix:
  .csv, .tsv   two columns, class and name; a first line that calls its columns so is passed over
  .json        {"n01440764": "tench"}, or ImageNet's {"0": ["n01440764", "tench"]}
  all else     lines "n01440764 = tench"; "n01440764 tench" does for ImageNet ids, tabs for all
Empty lines and lines that start with "#" are passed over.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from datafiles.names import clean_name
from datafiles.places.opening import open_regular
from gateway.cli.failures import CliError

LONGEST = 256
_HEADERS = {"class", "class_name", "id", "label", "synset", "wnid", "key", "folder", "name"}
_ID_LINE = re.compile(r"(n\d{8})\s+(.+)")
_FORMS = "Write a line such as 'n01440764 = tench' per class; .csv, .tsv and .json are read, too."

# (where it stands, class, name)
Pairs = Iterator[tuple[str, str, str]]


def read_names(file: str | None) -> dict[str, str]:
    """What the file calls each class; {} without one. Raises CliError for what cannot be read."""
    if not file:
        return {}
    path = Path(file).expanduser()
    try:
        with open_regular(path) as opened:
            text = opened.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(f"{path} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise _error(f"{path} cannot be read: {error.strerror or error}.") from error
    names: dict[str, str] = {}
    for place, key, name in _pairs(path, text):
        key, name = clean_name(key), clean_name(name)
        if not key or not name:
            raise _error(f"{path}, {place}: a class and a name for it are needed.")
        if len(name) > LONGEST:
            raise _error(f"{path}, {place}: the name of {key!r} has more than {LONGEST} letters.")
        if names.setdefault(key, name) != name:
            raise _error(f"{path}, {place}: {key!r} is called {names[key]!r} already.")
    if not names:
        raise _error(f"{path} names no class.")
    return names


def read_numbers(file: str | None) -> dict[int, str]:
    """Which class each number stands for, from such a file; {} without one."""
    names = read_names(file)
    for key in names:
        if not (key.isascii() and key.isdigit()) or int(key) >= 2**32:
            raise CliError(
                f"{file}: {key!r} is not a class number.",
                remedy="Write a line such as '3 = cat' for each number in the pool.",
            )
    return {int(key): name for key, name in names.items()}


def _pairs(path: Path, text: str) -> Pairs:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _of_json(path, text)
    if suffix in (".csv", ".tsv"):
        return _of_table(path, text.splitlines(), "," if suffix == ".csv" else "\t")
    return _of_lines(path, text.splitlines())


def _of_json(path: Path, text: str) -> Pairs:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(f"{path} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise _error(f"{path} is not a JSON object of names by class.")
    for key, value in document.items():
        match value:
            case str():
                yield f"key {key!r}", key, value
            case [str(synset), str(name)]:
                yield f"key {key!r}", synset, name.replace("_", " ")
            case _:
                raise _error(f"{path}, key {key!r}: the name is not a string.")


def _of_table(path: Path, lines: Iterable[str], separator: str) -> Pairs:
    rows = csv.reader(lines, delimiter=separator)
    try:
        for number, row in enumerate(rows, 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if number == 1 and cells[0].lower().replace(" ", "_") in _HEADERS:
                continue
            if len(cells) != 2:
                raise _error(
                    f"{path}, line {rows.line_num}: there are {len(cells)} columns, not class and "
                    "name; a comma inside a name needs quotation marks around it."
                )
            yield f"line {rows.line_num}", cells[0], cells[1]
    except csv.Error as error:
        raise _error(f"{path}, line {rows.line_num}: {error}.") from error


def _of_lines(path: Path, lines: Iterable[str]) -> Pairs:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        for separator in (" = ", "\t", "="):
            key, found, name = line.partition(separator)
            if found:
                break
        else:
            match = _ID_LINE.fullmatch(line.strip())
            if match is None:
                raise _error(f"{path}, line {number}: {line.strip()[:80]!r} has no '='.")
            key, name = match[1], match[2]
        yield f"line {number}", key, name


def _error(message: str) -> CliError:
    return CliError(message, exit_code=3, remedy=_FORMS, reason="BAD_NAMES")
