"""The errors of diffusion models.

DiffusionError
├── UnknownModel    no model has that name
├── BrokenModel     the folder of the model cannot be used
├── BadCondition    what is asked for can never be made by this model; carries the field
└── BrokenImage     the model made no picture: not numbers, or black
"""

from collections.abc import Iterable


class DiffusionError(Exception):
    """An error with a sentence for people."""


class UnknownModel(DiffusionError):
    """No model has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"there is no model {name!r}; the models are: {names}")
        self.name = name


class BrokenModel(DiffusionError):
    """The folder of a model cannot be used."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"model {name!r} cannot be used: {message}")
        self.name = name


class BadCondition(DiffusionError):
    """What is asked for can never be made by this model. `field` is the path of the field."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.field, self.reason = field, reason


class BrokenImage(DiffusionError):
    """The model made no picture."""
