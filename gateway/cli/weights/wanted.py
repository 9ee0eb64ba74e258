"""The list of models that are wanted: a YAML or JSON file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from servicekit.errors import InvalidArgument

_KEYS = ("folder", "source", "files", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")
EXAMPLE = """models:
  - folder: captioner
    source: hub:OWNER/NAME@COMMIT
  - folder: clip
    source: s3://BUCKET/PREFIX?endpoint=HOST:PORT"""


@dataclass(frozen=True)
class WantedModel:
    """A model: the `folder` that it is put into, below the one of all, and its `source`.

    Of its files those that match `patterns`, all if there are none. `digest` is of the whole
    folder, `digests` of single files; both may be empty.
    """

    folder: str
    source: str
    patterns: tuple[str, ...] = ()
    digest: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


def read_list(path: Path) -> tuple[WantedModel, ...]:
    """Returns the models of a list. Raises InvalidArgument for one that cannot be understood."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise _bad(f"the list {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _bad(f"the list {path} is neither YAML nor JSON: {error}") from error
    entries = document.get("models") if isinstance(document, dict) else None
    if not isinstance(entries, list) or set(document) != {"models"}:
        raise _bad(f"the list {path} has to hold one list, `models:`; write\n{EXAMPLE}")
    models = tuple(
        _model(entry, f"{path}: models[{number}]") for number, entry in enumerate(entries)
    )
    _check_apart(models, path)
    return models


def _model(entry: Any, where: str) -> WantedModel:
    if not isinstance(entry, dict):
        raise _bad(f"{where} is not a mapping; write\n{EXAMPLE}")
    if unknown := sorted(map(str, set(entry) - set(_KEYS))):
        raise _bad(f"{where} has a key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for key in ("folder", "source"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise _bad(f"{where} has no {key}; write\n{EXAMPLE}")
    patterns = entry.get("files", [])
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        raise _bad(f"{where}: files is a list of patterns, as ['*.json', 'unet/*.safetensors']")
    digests = entry.get("sha256", "")
    for value in digests.values() if isinstance(digests, dict) else [digests]:
        if value != "" and not (isinstance(value, str) and _SHA256.fullmatch(value)):
            raise _bad(
                f"{where}: sha256 is {value!r}; it is 64 of 0-9 and a-f, of the whole folder or, "
                "as a mapping, of each file"
            )
    return WantedModel(
        folder=_folder(entry["folder"], where),
        source=entry["source"],
        patterns=tuple(patterns),
        digest="" if isinstance(digests, dict) else digests,
        digests=digests if isinstance(digests, dict) else {},
    )


def _folder(text: str, where: str) -> str:
    path = PurePosixPath(text)
    hidden = any(part.startswith(".") for part in path.parts)
    if path.is_absolute() or hidden or not path.parts:
        raise _bad(f"{where}: folder is {text!r}; it is one such as captioner or diffusion/text")
    return path.as_posix()


def _check_apart(models: tuple[WantedModel, ...], path: Path) -> None:
    """Raises InvalidArgument if one model would lie in the folder of another."""
    folders = sorted(PurePosixPath(model.folder) for model in models)
    for first, second in pairwise(folders):
        if second.is_relative_to(first):
            raise _bad(f"{path}: the folders {first} and {second} overlap; give each its own")


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, field="models", reason="BAD_LIST")
