"""Runs the gateway: `variegate serve gateway`, or `python -m gateway`."""

from collections.abc import Sequence

from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, GatewaySettings, "gateway", arguments=arguments)


if __name__ == "__main__":
    main()
