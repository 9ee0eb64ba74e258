"""What an error of another service means for the work that called it, and for whose work it is."""

import re

from servicekit.errors import (
    DeadlineExceeded,
    Exhausted,
    Internal,
    InvalidArgument,
    ServiceError,
    Unavailable,
)
from servicekit.storage import LASTING

# Fields of other services that hold what people gave, by service, and what people call them. All
# others are the gateway's own choice, so an error there is no fault of theirs.
_GIVEN = {
    "generator": {"steps": "steps", "guidance_scale": "guidance_scale"},
    "prompter": {"class_name": "class_name", "meaning": "parameters.senses"},
    "retriever": {"pool_uri": "pool_uri"},
    "trainer": {
        f"training_run.{name}": f"training.{name}"
        for name in (
            "strategy", "policy", "classifier", "step_count", "batch_size", "learning_rate",
            "image_size", "node_count", "gpus_per_node", "initial_weights_uri", "freeze",
            "schedule", "choose",
        )
    },
}  # fmt: skip
_ITEM = re.compile(r"^(items\[\d+\]|sampling)\.")


def is_passing(error: ServiceError) -> bool:
    """Says whether the same call may work later without anybody's doing."""
    kinds = (Exhausted, Unavailable, DeadlineExceeded)
    return isinstance(error, kinds) and not is_lasting(error)


def is_lasting(error: ServiceError) -> bool:
    """Says whether no call will work until a person has done something, as for a full disk."""
    return error.reason in LASTING or error.reason == "DATABASE_FULL"


def as_ours(error: ServiceError, service: str) -> ServiceError:
    """Returns the error of a call that the gateway made, as its own caller shall see it.

    INVALID_ARGUMENT names a field of the caller's; where `service` refused what the gateway chose
    itself, that is INTERNAL.
    """
    if not isinstance(error, InvalidArgument):
        return error
    given = _GIVEN.get(service, {}).get(_ITEM.sub("", error.field))
    if given is not None:
        others = {key: value for key, value in error.metadata.items() if key != "field"}
        return InvalidArgument(error.message, field=given, reason=error.reason, metadata=others)
    return Internal(
        f"the {service} refused what the gateway asked of it: {error.message}",
        reason="CALL_REFUSED",
        metadata={"service": service, "field": error.field, "reason": error.reason},
    )
