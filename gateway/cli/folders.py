"""Which images a folder holds for training and to test with: told before anything is started."""

from collections.abc import Sequence
from pathlib import Path

from gateway.cli.failures import CliError
from gateway.cli.foreign import is_foreign
from gateway.cli.inputs import Reading, local_path, manifest_of, source_uri


def check_folders(train: str, test: str | None, reading: Reading) -> bool:
    """Returns whether there are images to test with, as far as it can be told here.

    Raises CliError for a place that is not there, and for folders of which it is not clear whether
    they are splits or classes.
    """
    from datafiles.places.layout import TEST
    from datafiles.places.place import FilePlace, Place
    from datafiles.places.splits import find_parts
    from servicekit.errors import InvalidArgument
    from servicekit.storage import MemoryStore

    uris = [source_uri(text) for text in (train, test) if text]
    places = [local_path(text) for text in (train, test) if text]
    if not all(place and place.exists() for place in places):
        return True  # Where the gateway is, there may be.

    def name(place: Place) -> str:
        for text, given in zip((train, test), places, strict=False):
            if isinstance(place, FilePlace) and place.root == given:
                return str(text).rstrip("/") or "/"
        return place.uri

    try:
        parts = find_parts(
            uris[0],
            uris[1] if test else "",
            finds_layout=reading.layout == "auto",
            follow_links=reading.follow_links,
            store=MemoryStore(),
            roots=("/",),
            name=name,
        )
        return TEST in parts
    except InvalidArgument as error:
        raise CliError(f"{error.message}.".replace("..", "."), reason=error.reason) from error


def check_added(places: Sequence[Path], reading: Reading) -> None:
    """Raises CliError for a place that is neither an output of variegate's nor one of images."""
    for place in places:
        if not is_foreign(place):
            manifest_of(place)
        else:
            check_folders(str(place), None, reading)


def check_tested(is_tested: bool, source: str) -> None:
    """Raises CliError without images to test with."""
    if not is_tested:
        raise CliError(
            f"There are no test images to measure with: {source} holds no test split.",
            remedy="Add --test DIR: photographs that nothing trains on, a folder per class.",
            reason="TEST_MISSING",
        )
