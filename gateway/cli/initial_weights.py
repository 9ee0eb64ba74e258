"""Weights that training starts from: a file of this machine or of a package, or in the store."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError

if TYPE_CHECKING:
    from servicekit.storage import ObjectStore

# Of a folder of a hub, and of one that `train --out` writes.
_FILE = "model.safetensors"
_STORE, _PACKAGED = "store:", "packaged:"


@dataclass(frozen=True)
class Weights:
    """Where weights are in the store, and what reads those that have to be put there first.

    `classifier` is the one that they are of, "" where that cannot be told.
    """

    uri: str = ""
    read: Callable[[], bytes] | None = field(default=None, compare=False)
    classifier: str = ""

    def put(self, store: "ObjectStore") -> None:
        """Puts the weights into the store."""
        from servicekit.storage import to_key

        if self.read and not store.renew(to_key(self.uri)):
            store.put(to_key(self.uri), self.read())

    def check(self, classifiers: Iterable[str]) -> None:
        """Raises CliError for weights that are known to be of another classifier than these."""
        for classifier in classifiers:
            if self.classifier and classifier != self.classifier:
                raise CliError(
                    f"The weights are of {self.classifier}, and "
                    f"{classifier or 'the classifier of the trainer'} is to be trained.",
                    remedy=f"Give --classifier {self.classifier}, or other --weights.",
                    reason="CLASSIFIER_UNFIT",
                )


RANDOM = Weights()


def weights_of(text: str) -> Weights:
    """What --weights names; the URI of a file is that of its content. Raises CliError."""
    if not text or text.startswith(_STORE):
        return Weights(text)
    if text.startswith(_PACKAGED):
        return _packaged(text)
    place = Path(text).expanduser()
    file = place / _FILE if place.is_dir() else place
    if not file.is_file():
        raise CliError(
            f"There are no weights {file}.",
            exit_code=3,
            remedy=f"Give a .safetensors file, or a folder that holds {_FILE}, such as one of "
            "`train --out`.",
            reason="WEIGHTS_MISSING",
        )
    if file.suffix != ".safetensors":
        raise CliError(
            f"{text} is no .safetensors file, and others may hold code that runs when they are "
            "read.",
            remedy="Convert it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            "NEW).",
            reason="WEIGHTS_UNSAFE",
        )
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Weights(_uri(digest), file.read_bytes)


def _packaged(text: str) -> Weights:
    from gateway.cli.weights.packaged import find, read

    row = find(text)
    data = read(row)
    return Weights(_uri(hashlib.sha256(data).hexdigest()), lambda: data, row.classifier)


def _uri(digest: str) -> str:
    from servicekit.storage import to_uri

    return to_uri(f"weights/{digest}.safetensors")
