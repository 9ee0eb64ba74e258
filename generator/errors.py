"""The engine's errors as errors of the service."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from diffusion import errors as models
from generator.engine import errors as engine
from servicekit.errors import (
    Exhausted,
    Internal,
    InvalidArgument,
    NotFound,
    Precondition,
    ServiceError,
    Unavailable,
)

_log = logging.getLogger(__name__)


def translate(error: Exception, prefix: str = "") -> ServiceError:
    """Returns the service's error for one of the engine; `prefix` leads to the item's fields."""
    match error:
        case ServiceError():
            return error
        case models.BadCondition():
            return InvalidArgument(str(error), field=prefix + error.field, reason=error.reason)
        case models.UnknownModel():
            return NotFound(str(error), resource=error.name, reason="MODEL_NOT_FOUND")
        case models.BrokenModel():
            return Precondition(str(error), subject=error.name, reason="MODEL_BROKEN")
        case models.BrokenImage():
            return Internal(str(error), reason="BROKEN_IMAGE")
        case engine.QueueFull():
            return Exhausted(str(error), retry_after=1.0, metadata={"limit": str(error.limit)})
        case engine.EngineClosed():
            return Unavailable(str(error), reason="SHUTTING_DOWN")
        case engine.UnknownArtefact():
            return NotFound(str(error), resource=error.uri, reason="ARTEFACT_NOT_FOUND")
        case engine.OutOfMemory():
            return Exhausted(
                str(error),
                reason="GPU_OUT_OF_MEMORY",
                retry_after=5.0,
                metadata={"batch_size": str(error.count)},
            )
    _log.error("the engine failed", exc_info=error)
    return Internal("internal error; the server's log has the trace")


@contextmanager
def translated() -> Iterator[None]:
    """Raises the engine's errors as the service's."""
    try:
        yield
    except models.DiffusionError as error:
        raise translate(error) from error
