"""Runs the retriever: `variegate serve retriever`, or `python -m retriever`."""

from collections.abc import Sequence

from retriever.settings import RetrieverSettings
from retriever.wiring import create_service
from servicekit.server import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    run(create_service, RetrieverSettings, "retriever", arguments=arguments)


if __name__ == "__main__":
    main()
