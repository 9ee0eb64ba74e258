"""Runs the generator: `variegate serve generator`, or `python -m generator`."""

from collections.abc import Sequence

from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, GeneratorSettings, "generator", arguments=arguments)


if __name__ == "__main__":
    main()
