"""Where services of one person on one machine meet: ports, and the folder of their state."""

import os
from pathlib import Path

# In the order of their ports; the gateway is first because people talk to it.
SERVICES = ("gateway", "captioner", "prompter", "generator", "retriever", "trainer")
HOST = "127.0.0.1"
FIRST_PORT = 50051


def port_of(service: str, first: int = FIRST_PORT) -> int:
    """Returns the port of a service: the gateway's is `first`, the others' the five after it."""
    return first + SERVICES.index(service)


def address_of(service: str) -> str:
    """Returns where a service listens that was started alone, "HOST:PORT"."""
    return f"{HOST}:{port_of(service)}"


def state_folder() -> Path:
    """Returns the folder of services that were told of no other: $XDG_STATE_HOME/variegate.

    It does not depend on the current folder, so services started anywhere share it.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "variegate"
    try:
        return Path.home() / ".local" / "state" / "variegate"
    except RuntimeError:  # a user without a home, as in containers
        return Path("/var/lib/variegate")
