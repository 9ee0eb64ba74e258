"""Where services of one person on one machine meet: ports, and the folder of their state."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from servicekit.errors import InvalidArgument

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


def need_writable(folder: Path, setting: str) -> None:
    """Makes a folder for what can be lost. Raises InvalidArgument now rather than in mid-run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise InvalidArgument(
            f"nothing can be written into the folder {folder}: {error.strerror or error}; "
            f"set {setting} to a local folder that can be lost",
            field=setting,
            reason="FOLDER_NOT_WRITABLE",
        ) from error
