"""Runs the captioner: `variegate serve captioner`, or `python -m captioner`."""

from collections.abc import Sequence

from captioner.settings import CaptionerSettings
from captioner.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, CaptionerSettings, "captioner", arguments=arguments)


if __name__ == "__main__":
    main()
