"""Runs the trainer: `variegate serve trainer`, or `python -m trainer`."""

from collections.abc import Sequence

from servicekit.server import run
from trainer.settings import TrainerSettings
from trainer.wiring import create_service


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, TrainerSettings, "trainer", arguments=arguments)


if __name__ == "__main__":
    main()
