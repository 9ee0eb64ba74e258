"""Runs the prompter: `variegate serve prompter`, or `python -m prompter`."""

from collections.abc import Sequence

from prompter.settings import PrompterSettings
from prompter.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, PrompterSettings, "prompter", uses_store=False, arguments=arguments)


if __name__ == "__main__":
    main()
