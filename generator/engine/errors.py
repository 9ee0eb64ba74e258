"""The errors of the engine.

EngineError
├── UnknownModel    no model has that name
├── BrokenModel     the folder of the model cannot be used
├── BadCondition    the item can never be made by this model; carries the field
├── BrokenImage     the model made no picture: not numbers, or black
├── QueueFull       too many items wait
└── EngineClosed    the engine was shut down
"""

from collections.abc import Iterable


class EngineError(Exception):
    """An error with a sentence for people."""


class UnknownModel(EngineError):
    """No model has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"there is no model {name!r}; the models are: {names}")
        self.name = name


class BrokenModel(EngineError):
    """The folder of a model cannot be used."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"model {name!r} cannot be used: {message}")
        self.name = name


class BadCondition(EngineError):
    """The item can never be made by this model. `field` is the path of the field at fault."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.field, self.reason = field, reason


class BrokenImage(EngineError):
    """The model made no picture."""


class QueueFull(EngineError):
    """Too many items wait."""

    def __init__(self, waiting: int, wanted: int, limit: int) -> None:
        super().__init__(
            f"{waiting} items wait and {wanted} more do not fit, the limit is {limit}; "
            "try again shortly"
        )
        self.limit = limit


class EngineClosed(EngineError):
    """The engine was shut down."""
