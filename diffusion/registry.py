"""The models of a folder: a sub-folder each."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion.card import ModelCard, read_card
from diffusion.errors import BrokenModel, UnknownModel

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registry:
    """The usable models by name, and why others are not."""

    cards: Mapping[str, ModelCard]
    refused: Mapping[str, BrokenModel]

    def card(self, name: str) -> ModelCard:
        """Returns the card. Raises UnknownModel naming the known ones, or BrokenModel."""
        if name in self.cards:
            return self.cards[name]
        if name in self.refused:
            raise self.refused[name]
        raise UnknownModel(name, self.cards)


def scan(folder: Path, names: Sequence[str] = ()) -> Registry:
    """Reads the models of `folder`, or only those in `names`.

    A model that cannot be used is refused alone; the others are served.
    Raises BrokenModel if the folder does not exist, UnknownModel if a name is not in it.
    """
    if not folder.is_dir():
        raise BrokenModel(folder.name, f"there is no folder {folder}; set the models folder")
    found = sorted(path for path in folder.iterdir() if (path / "model_index.json").is_file())
    known = [path.name for path in found]
    for name in names:
        if name not in known:
            raise UnknownModel(name, known)
    cards: dict[str, ModelCard] = {}
    refused: dict[str, BrokenModel] = {}
    for path in found:
        if names and path.name not in names:
            continue
        try:
            cards[path.name] = read_card(path)
        except BrokenModel as error:
            _log.warning("%s", error)
            refused[path.name] = error
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("model %s: %r", path.name, error)
            refused[path.name] = BrokenModel(path.name, f"its configuration lacks {error}")
    return Registry(cards, refused)
