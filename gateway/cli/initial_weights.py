"""Weights that training starts from: a file of this machine, or an object of the store."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError

if TYPE_CHECKING:
    from servicekit.storage import ObjectStore

# Of a folder of a hub, and of one that `train --out` writes.
_FILE = "model.safetensors"
_STORE = "store:"


@dataclass(frozen=True)
class Weights:
    """Where weights are in the store, and the file that has to be put there first, if any."""

    uri: str = ""
    file: Path | None = field(default=None, compare=False)

    def put(self, store: "ObjectStore") -> None:
        """Puts the file into the store."""
        from servicekit.storage import to_key

        if self.file and not store.renew(to_key(self.uri)):
            store.put(to_key(self.uri), self.file.read_bytes())


RANDOM = Weights()


def weights_of(text: str) -> Weights:
    """What --weights names; the URI of a file is that of its content. Raises CliError."""
    if not text or text.startswith(_STORE):
        return Weights(text)
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
    from servicekit.storage import to_uri

    return Weights(to_uri(f"weights/{digest}.safetensors"), file)
