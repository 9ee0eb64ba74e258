"""What people give as images: checked before anything is started, and named by content."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from datafiles.packed import MARK_BYTES, packing_of
from datafiles.places.opening import open_regular, special_kind
from datafiles.suffixes import is_text_table
from gateway.cli.failures import CliError
from gateway.cli.subset import WHOLE, Subset

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_FILES = {".parquet", ".tar"}


@dataclass(frozen=True)
class Reading:
    """How folders and tables are read; the values of the options of these names."""

    layout: str = "auto"
    follow_links: bool = False
    image_column: str = ""
    label_column: str = ""


USUAL = Reading()

# Before the name of a dataset that was imported.
DATASET = "dataset:"


def source_uri(text: str) -> str:
    """The URI of a folder or file of images, or a URI already. Raises CliError for all else."""
    if text.startswith(("store:", "file:", DATASET)):
        return text
    path = Path(text).expanduser()
    if not path.exists():
        raise _missing(path)
    _check_unpacked(path, text)
    if path.is_dir():
        _check_folder(path)
    elif path.suffix.lower() not in _FILES or not path.is_file():
        what = special_kind(path.stat().st_mode) or "a file"
        raise CliError(
            f"{text} is {what}, not a folder of images.",
            remedy="Give the folder that holds a folder per class, or a .parquet or .tar file.",
            reason="NOT_A_FOLDER",
        )
    return path.resolve().as_uri()


def pool_file(text: str) -> Path | None:
    """The file or folder of a pool, or None if it is in the object store. Raises CliError."""
    path = local_path(text)
    if path is not None:
        _check_unpacked(path, text)
    if path is None or path.is_dir() or (path.is_file() and path.suffix.lower() in _FILES):
        return path
    raise CliError(
        f"The pool {text} is not a .parquet or .tar file, nor a folder.",
        exit_code=3,
        remedy="Give a .parquet or .tar file, or a folder of them, of images or of class folders.",
        reason="POOL_MISSING",
    )


def manifest_of(place: Path) -> Path:
    """The manifest of an output of augment: in the folder, or the file itself. Raises CliError."""
    manifest = place / "manifest.parquet" if place.is_dir() else place
    if manifest.is_file() and manifest.suffix.lower() == ".parquet":
        return manifest
    _check_unpacked(place, str(place))
    what = "it has no manifest.parquet" if place.exists() else "it does not exist"
    raise CliError(
        f"{place} is not an output of `variegate augment`: {what}.",
        exit_code=3,
        remedy="Give the folder that was its --out, or the manifest.parquet in it.",
        reason="NO_MANIFEST",
    )


def import_roots(*texts: str | None, reading: Reading = USUAL) -> tuple[Path, ...]:
    """The folders that the system must be allowed to read for these sources.

    Where links are followed, also those of what they lead to.
    """
    places = [path for path in (local_path(text) for text in texts if text) if path is not None]
    roots = dict.fromkeys(path if path.is_dir() else path.parent for path in places)
    if reading.follow_links:
        from datafiles.places.walking import folders_behind

        for path in places:
            roots |= dict.fromkeys(folders_behind(path))
    return tuple(roots)


def local_path(text: str) -> Path | None:
    """The path behind a source, or None if it is in the object store or was imported."""
    if text.startswith(("store:", DATASET)):
        return None
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path, errors="surrogateescape")
    return Path(text).expanduser().resolve()


def local_paths(*texts: str | None) -> list[Path | None]:
    """The paths behind those sources that are given."""
    return [local_path(text) for text in texts if text]


def dataset_id(
    train: str,
    test: str | None,
    subset: Subset = WHOLE,
    display_names: Mapping[str, str] | None = None,
    refuse_leaks: bool = False,
    reading: Reading = USUAL,
) -> str:
    """An id that changes when the files do: of places, names, sizes and times of change.

    Which images are used belongs to it, what texts call the classes, and whether leaks were
    refused.
    """
    parts = [list(_listing(text)) for text in (train, test) if text]
    path = local_path(train) or Path(train.removeprefix("store:"))
    given: list[object] = [dict(display_names)] if display_names else []
    given += ["no leaks"] if refuse_leaks else []
    given += [] if reading == USUAL else [reading]
    given += [] if subset.is_short else [subset]
    return named_digest(path.stem, [parts, subset.shots, *given])


def run_id(name: str, args: Mapping[str, object]) -> str:
    """The id of a run: its settings, and what its places hold now, however they were written."""
    places = {
        place: list(_listing(str(args[place])))
        for place in ("source", "test", "pool")
        if args.get(place)
    }
    if isinstance(added := args.get("synthetic"), tuple):
        # Of a manifest that was named itself the folder counts.
        folders = [one.parent if one.suffix.lower() == ".parquet" else one for one in added]
        places["synthetic"] = [entry for folder in folders for entry in _listing(str(folder))]
    if isinstance(tests := args.get("test_sets"), tuple):
        places["test_sets"] = [[name, *_listing(place)] for name, place in tests]
    if isinstance(subset := args.get("subset"), Subset):
        args = {key: value for key, value in args.items() if key != "subset"} | subset.named()
    return named_digest(name, {**args, **places})


def named_digest(name: str, content: object) -> str:
    """The id NAME-DIGEST in the form that the API takes: a-z, 0-9, "-" and "_", a letter first."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:40]
    if not slug or not slug[0].isalpha():
        slug = f"d-{slug}".rstrip("-")
    text = json.dumps(content, sort_keys=True, default=_plain)
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def parameters(pairs: list[str] | None) -> dict[str, str]:
    """["a=1"] -> {"a": "1"}. Raises CliError for what has no "="."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise CliError(
                f"--param {pair!r} has no value.",
                remedy="Write --param NAME=VALUE, for example "
                "--param coarse_steps=2. `variegate methods` lists the names.",
            )
        if found.setdefault(name.strip(), value.strip()) != value.strip():
            raise CliError(
                f"--param {name.strip()} is given as {found[name.strip()]} and as {value.strip()}.",
                remedy="Give it once.",
            )
    return found


def names(texts: str | list[str] | None) -> list[str]:
    r"""Names separated by commas, each once: "a, b" -> ["a", "b"]; a comma in a name is "\,"."""
    given = [texts] if isinstance(texts, str) else texts or []
    parts = [part for text in given for part in re.split(r"(?<!\\),", text)]
    return list(dict.fromkeys(part.replace("\\,", ",").strip() for part in parts if part.strip()))


def _listing(text: str) -> Iterator[list[object]]:
    path = local_path(text)
    if path is None or not path.exists():  # There may be one where the gateway is.
        yield [text]
        return
    from datafiles.places.walking import Links, walk

    yield [str(path)]
    for found in walk(path, Links(lambda _: True, follow=True)) if path.is_dir() else [""]:
        # What cannot be read is told by the import; here it only must not be taken for nothing.
        yield _facts(path, found) if isinstance(found, str) else [found.path, found.reason]


def _plain(value: object) -> object:
    """What stands for a value in an id: of a dataclass what was chosen, so that an option that is
    new changes no id of those who leave it out."""
    if not is_dataclass(value):
        return str(value)
    given = {
        one.name: (getattr(value, one.name), one.default) for one in fields(value) if one.compare
    }
    return {name: chosen for name, (chosen, usual) in given.items() if chosen != usual}


def _facts(folder: Path, name: str) -> list[object]:
    try:
        facts = (folder / name).stat()
    except OSError as error:  # It was there a moment ago.
        return [name, error.strerror]
    return [name, facts.st_size, facts.st_mtime_ns]


def _check_unpacked(path: Path, text: str) -> None:
    """Raises CliError for a file that is packed or compressed, with how to unpack it."""
    if not path.is_file():
        return
    try:
        with open_regular(path) as file:
            why = packing_of(text, file.read(MARK_BYTES))
    except OSError:
        return  # The reader of the file reports why.
    if why:
        raise _packed(text, why)


def _packed(text: str, why: str) -> CliError:
    what, _, remedy = why.partition("; ")
    return CliError(
        f"{text} {what}.",
        exit_code=3,
        remedy=f"{remedy[:1].upper()}{remedy[1:]}.",
        reason="PACKED",
    )


def _missing(path: Path) -> CliError:
    parent = path.parent
    siblings = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    near = get_close_matches(path.name, siblings, n=1)
    guess = f" Did you mean {parent / near[0]}?" if near else ""
    return CliError(
        f"{path} does not exist.{guess}",
        exit_code=3,
        remedy="Give a folder with a folder of images per class.",
        reason="SOURCE_MISSING",
    )


def _check_folder(path: Path) -> None:
    try:
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror or error}.",
            exit_code=3,
            remedy="Check its permissions.",
            reason="SOURCE_UNREADABLE",
        ) from error
    if not entries:
        raise CliError(
            f"{path} is empty.",
            remedy="Put the images of each class into a folder with the name of the class.",
            reason="EMPTY_DATASET",
        )
    if any(entry.is_dir() or entry.suffix.lower() in _FILES for entry in entries):
        return
    if any(is_text_table(entry.name) for entry in entries):
        return  # Whether it tells the classes is for the gateway to say.
    for entry in entries:
        if why := packing_of(str(entry)):
            raise _packed(str(entry), why)
    if any(entry.suffix.lower() in _IMAGES for entry in entries):
        raise CliError(
            f"{path} has images but no class folders.",
            remedy=f"Move the images of each class into a folder, for example {path / 'cat'}; "
            "or put a metadata.csv with file_name and label beside them; or give the folder above.",
            reason="NO_CLASS_FOLDERS",
        )
    raise CliError(
        f"{path} has neither class folders nor images.",
        remedy="Give a folder with a folder of images per class.",
        reason="EMPTY_DATASET",
    )
