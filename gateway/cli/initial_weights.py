"""Weights that training starts from: of a file, a package or a hub, or in the store."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError
from gateway.cli.terminal import console
from servicekit.escaping import escaped

if TYPE_CHECKING:
    from servicekit.storage import ObjectStore

_CONFIG = "config.json"
# Of a folder of a hub, and of one that `train --out` writes.
_FILE = "model.safetensors"
_STORE, _PACKAGED, _HUB = "store:", "packaged:", "hub:"


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
    if text.startswith(_HUB):
        return _of_hub(text)
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


def _of_hub(text: str) -> Weights:
    """Weights of a hub, which stay on this machine: asked for again, they are read and proven."""
    from gateway.cli.weights.fetching import fetch
    from gateway.cli.weights.staging import alone
    from gateway.cli.weights.wanted import WantedModel
    from servicekit.places import state_folder

    terminal, into = console(stderr=True), state_folder() / "weights"

    def told(line: str) -> None:
        terminal.print(escaped(line), markup=False, soft_wrap=True)

    folder = text.removeprefix(_HUB).replace("/", "--")
    with alone(into, told):
        fetch(WantedModel(folder, text, (_FILE, _CONFIG)), into, told)
    weights = weights_of(str(into / folder))
    return replace(weights, classifier=_classifier_of(into / folder / _CONFIG))


def _classifier_of(config: Path) -> str:
    """The classifier that a model of timm says to be; "" for others."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
        network, tag = told["architecture"], told["pretrained_cfg"].get("tag")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f"timm:{network}.{tag}" if tag else f"timm:{network}"


def _uri(digest: str) -> str:
    from servicekit.storage import to_uri

    return to_uri(f"weights/{digest}.safetensors")
