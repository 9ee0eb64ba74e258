"""The errors of the engine.

EngineError
├── UnknownModel    no model has that name
├── BrokenModel     the folder of the model cannot be used
├── BadCondition    the item can never be made by this model; carries the field
├── UnknownVariant  no object holds the variant's weights
├── OutOfMemory     the device's memory does not hold the batch
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


class UnknownVariant(EngineError):
    """No object holds the variant's weights."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"there is no variant {uri}: the store has no such object")
        self.uri = uri


class OutOfMemory(EngineError):
    """The device's memory does not hold a batch of `count` images, nor half of it."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"the device is out of memory with a batch of {count} images; try again, or lower "
            "GENERATOR_MAX_BATCH (GENERATOR_DETERMINISTIC_ROWS for deterministic images)"
        )
        self.count = count


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
