"""Fetches models that are wanted, or waits until somebody has."""

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.cli.weights.base import WEIGHTS, Listing, RemoteFile, Source, digests_of
from gateway.cli.weights.bucket import SCHEME as BUCKET
from gateway.cli.weights.bucket import BucketSource
from gateway.cli.weights.download import PART, download, no_room
from gateway.cli.weights.hub import SCHEME as HUB
from gateway.cli.weights.hub import HubSource
from gateway.cli.weights.progress import DownloadProgress
from gateway.cli.weights.staging import (
    DownloadRecord,
    keep_only,
    put_in_place,
    read_record,
    stage_of,
    take_back,
)
from gateway.cli.weights.wanted import WantedModel
from servicekit.errors import InvalidArgument, Precondition

_FILES_AT_ONCE = 4
_REPEAT_SECONDS = 60.0

Told = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """A model that is in its place: its digest and version, and how many bytes came for it."""

    folder: str
    digest: str
    version: str
    fetched_bytes: int


def fetch(model: WantedModel, into: Path, told: Told) -> Fetched:
    """Puts a model into its folder unless it is there. Raises ServiceError, and OSError."""
    place, stage = into / model.folder, stage_of(into, model.folder)
    progress = DownloadProgress(model.folder, told)
    record = read_record(place)
    if place.exists() and record is None:
        raise Precondition(
            f"{place} is there and was not fetched by this command; move it away, or take it "
            "out of the list",
            subject=str(place),
            reason="FOLDER_TAKEN",
        )
    if record is not None and record.answers(model):
        damaged = record.damaged(place)
        if not damaged:
            progress.say("is complete; nothing to fetch")
            return Fetched(model.folder, record.digest, record.version, 0)
        progress.say(f"{', '.join(damaged)} damaged or missing; fetching them again")
        take_back(place, stage)
    source = _source(model.source)
    listing = _checked(source.listing(model.patterns), model)
    sums = _grow(source, listing, stage, progress)
    made = DownloadRecord(
        model.source,
        model.patterns,
        listing.version,
        {file.name: (file.size, sums[file.name]) for file in listing.files},
    )
    if model.digest not in ("", made.digest):
        raise _wrong(model, made)
    put_in_place(stage, place, made)
    progress.say(f"is whole, sha256 {made.digest}")
    return Fetched(model.folder, made.digest, made.version, progress.fetched)


def missing(models: Iterable[WantedModel], into: Path) -> list[str]:
    """Returns the folders of the models that are not there in the wanted version."""
    found = []
    for model in models:
        record = read_record(into / model.folder)
        is_there = record and record.answers(model) and record.seems_whole(into / model.folder)
        if not is_there:
            found.append(model.folder)
    return found


def await_all(models: tuple[WantedModel, ...], into: Path, told: Told, pause: float = 5.0) -> None:
    """Returns once all are there; says now and then which are not."""
    before: list[str] = []
    said = time.monotonic()
    while absent := missing(models, into):
        if absent != before or time.monotonic() - said >= _REPEAT_SECONDS:
            told(f"waiting for {', '.join(absent)} in {into}: not fetched yet")
            before, said = absent, time.monotonic()
        time.sleep(pause)


def _source(text: str) -> Source:
    if text.startswith(HUB):
        return HubSource(text)
    if text.startswith(BUCKET):
        return BucketSource(text)
    raise InvalidArgument(
        f"the source {text!r} is neither hub:OWNER/NAME@REVISION nor "
        "s3://BUCKET/PREFIX?endpoint=HOST:PORT",
        field="source",
        reason="BAD_SOURCE",
    )


def _checked(listing: Listing, model: WantedModel) -> Listing:
    """Returns a listing with the digests of the list in it. Raises Precondition for a bad one."""
    names = {file.name for file in listing.files}
    if absent := sorted(set(model.digests) - names):
        raise _unusable(model, f"has no wanted file {absent[0]}; correct sha256 in the list")
    if not any(name.endswith(WEIGHTS) for name in names):
        raise _unusable(
            model,
            f"has no *{WEIGHTS} among the wanted files; other weights are pickles, which can run "
            "code and are never fetched: name a revision that has them, or convert the model",
        )
    files = tuple(
        replace(file, sha256=model.digests.get(file.name, file.sha256)) for file in listing.files
    )
    for file in files:
        if file.name.startswith("/") or ".." in Path(file.name).parts or "\\" in file.name:
            raise _unusable(model, f"has a file {file.name!r}, which would lie elsewhere")
        if not file.sha256 and not file.blob:
            raise _unusable(
                model,
                f"does not say what {file.name} should be: give each file's sha256 in the list, or "
                "put SHA256SUMS beside them, made in their folder by "
                "`find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS`",
            )
    return replace(listing, files=files)


def _grow(
    source: Source, listing: Listing, stage: Path, progress: DownloadProgress
) -> dict[str, str]:
    """Makes a growing model whole. Returns the SHA-256 of its files by name."""
    stage.mkdir(parents=True, exist_ok=True)
    names = {file.name for file in listing.files}
    keep_only(stage, {*names, *(name + PART for name in names)})
    sums: dict[str, str] = {}
    for file in listing.files:
        if (stage / file.name).is_file():
            digests = digests_of(stage / file.name, file)
            if digests.match():
                sums[file.name] = digests.sha256
            else:
                (stage / file.name).unlink()
    needed = [file for file in listing.files if file.name not in sums]
    _check_room(needed, stage)
    done = sum(file.size for file in listing.files if file.name in sums)
    begun = sum(map(_size_of, (stage / (file.name + PART) for file in needed)))
    progress.begin(done + begun, sum(file.size for file in listing.files))
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        running = {
            pool.submit(_get, source, file, stage / file.name, progress): file for file in needed
        }
        ended, rest = wait(running, return_when=FIRST_EXCEPTION)
        for future in rest:
            future.cancel()
        return sums | {running[future].name: future.result() for future in ended}


def _get(source: Source, file: RemoteFile, place: Path, progress: DownloadProgress) -> str:
    digest = download(source, file, place, progress)
    if file.name.endswith(WEIGHTS) and not _is_safetensors(place):
        place.unlink()
        raise Precondition(
            f"{file.name} is not in the form that its name says, safetensors; get the model from "
            "another source",
            subject=file.name,
            reason="NOT_SAFETENSORS",
        )
    return digest


def _is_safetensors(path: Path) -> bool:
    """Says whether a file begins as safetensors do: with the length of a header, in JSON."""
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        return opened.read(1) == b"{" and 8 + length <= path.stat().st_size


def _check_room(needed: list[RemoteFile], stage: Path) -> None:
    lacking = sum(file.size - _size_of(stage / (file.name + PART)) for file in needed)
    if lacking > shutil.disk_usage(stage).free:
        raise no_room(stage, lacking)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _unusable(model: WantedModel, what: str) -> Precondition:
    return Precondition(f"{model.source} {what}", subject=model.folder, reason="MODEL_UNUSABLE")


def _wrong(model: WantedModel, made: DownloadRecord) -> Precondition:
    return Precondition(
        f"{model.source} is complete and has the sha256 {made.digest}, but the list says "
        f"{model.digest}; correct one of them",
        subject=model.folder,
        reason="WRONG_DIGEST",
    )
