"""The errors of the engine, besides those of the models (diffusion.errors).

DiffusionError
├── UnknownArtefact  the store does not hold the artefact
├── OutOfMemory      the device's memory does not hold the batch
├── QueueFull        too many items wait
└── EngineClosed     the engine was shut down
"""

from diffusion.errors import DiffusionError


class UnknownArtefact(DiffusionError):
    """The store does not hold the artefact."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"there is no artefact {uri}: the store has no such object")
        self.uri = uri


class OutOfMemory(DiffusionError):
    """The device's memory does not hold a batch of `count` images, nor half of it."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"the device is out of memory with a batch of {count} images; try again, or lower "
            "GENERATOR_MAX_BATCH (GENERATOR_DETERMINISTIC_ROWS for deterministic images)"
        )
        self.count = count


class QueueFull(DiffusionError):
    """Too many items wait."""

    def __init__(self, waiting: int, wanted: int, limit: int) -> None:
        super().__init__(
            f"{waiting} items wait and {wanted} more do not fit, the limit is {limit}; "
            "try again shortly"
        )
        self.limit = limit


class EngineClosed(DiffusionError):
    """The engine was shut down."""
