"""Runs the gateway: `variegate serve gateway`, or `python -m gateway`."""

import gc
from collections.abc import Sequence

from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    # A large plan makes objects faster than Python's collector expects: full collections stopped
    # all threads for 0.14 s every 4 s, and found next to nothing.
    gc.set_threshold(10_000, 10, 100)
    run(create_service, GatewaySettings, "gateway", arguments=arguments)


if __name__ == "__main__":
    main()
