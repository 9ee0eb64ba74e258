"""The diffusion models that can be tuned here, as far as their cards tell.

Loads torch when it is first asked.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from servicekit.errors import InvalidArgument, Precondition
from trainer.tunings.methods import METHODS, Method

if TYPE_CHECKING:
    from diffusion.card import ModelCard


class Models:
    """The models of a folder; each is read once, when it is first named. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cards: dict[str, ModelCard] = {}
        self._reading = threading.Lock()

    def to_tune(self, name: str, method_id: str, digest: str = "") -> "ModelCard":
        """Returns the card of a model that a method can tune; it must have `digest` if any is said.

        Raises InvalidArgument for an unknown one, Precondition for one that cannot be used.
        """
        card, method = self._card(name, "model"), METHODS[method_id]
        if digest not in ("", card.digest):
            raise Precondition(
                f"the trainer's model {name!r} has the digest {card.digest}, and the generator's "
                f"{digest}: what one learns the other cannot use; give TRAINER_MODELS_FOLDER and "
                "GENERATOR_MODELS_FOLDER the same models",
                subject=name,
                reason="MODELS_DIFFER",
            )
        if card.mode != method.mode:
            raise Precondition(
                f"the method {method.id!r} tunes models of mode {method.mode!r}, and model "
                f"{name!r} is of mode {card.mode!r}; {self._fitting(method)}",
                subject=name,
                reason="MODEL_UNSUITABLE",
            )
        return card

    def to_tell_apart(self, wanted: str, tuned: "ModelCard") -> "ModelCard":
        """Returns the card of a model with an image encoder: the wanted one, or which there is."""
        if wanted:
            card = self._card(wanted, "feature_model")
            if card.image_encoder:
                return card
            raise Precondition(
                f"model {wanted!r} has no image encoder to tell images apart; name one that has",
                subject=wanted,
                reason="MODEL_UNSUITABLE",
            )
        if tuned.image_encoder:
            return tuned
        for card in self._usable():
            if card.image_encoder:
                return card
        raise Precondition(
            f"no model of {self._folder} has an image encoder, by which images are told apart; put "
            "one there, such as a Stable unCLIP, or use the method 'ft_conditioning'",
            subject="TRAINER_MODELS_FOLDER",
            reason="NO_IMAGE_ENCODER",
        )

    def _fitting(self, method: Method) -> str:
        names = [card.name for card in self._usable() if card.mode == method.mode]
        if names:
            return f"of the models here use {' or '.join(names)}"
        return f"there is none in {self._folder} (TRAINER_MODELS_FOLDER)"

    def _card(self, name: str, field: str) -> "ModelCard":
        if name not in self._names():
            known = ", ".join(self._names()) or "none"
            raise InvalidArgument(
                f"there is no model {name!r} in the trainer's models folder {self._folder}; the "
                f"models there are: {known}",
                field=f"tuning.{field}",
                reason="UNKNOWN_MODEL",
            )
        return self._read(name)

    def _usable(self) -> "Iterator[ModelCard]":
        for name in self._names():
            try:
                yield self._read(name)
            except Precondition:
                continue  # It is refused where it is named.

    def _names(self) -> list[str]:
        return sorted(file.parent.name for file in self._folder.glob("*/model_index.json"))

    def _read(self, name: str) -> "ModelCard":
        from diffusion.card import read_card
        from diffusion.errors import BrokenModel

        with self._reading:
            if name not in self._cards:
                try:
                    self._cards[name] = read_card(self._folder / name)
                except (BrokenModel, KeyError, TypeError, ValueError) as error:
                    raise Precondition(
                        f"the model {name!r} in {self._folder} cannot be used: {error}",
                        subject=name,
                        reason="MODEL_BROKEN",
                    ) from error
            return self._cards[name]
