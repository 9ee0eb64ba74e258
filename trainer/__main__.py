"""Runs the trainer: `variegate serve trainer`, or `python -m trainer`.

`python -m trainer job RUN HOST:PORT` is what a pod of a run's Job does (see `job`).
"""

import sys
from collections.abc import Sequence

from servicekit.server import run
from trainer.settings import TrainerSettings
from trainer.wiring import create_service


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is told to end; by default the arguments are those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["job"]:
        from trainer import job  # A server has no use for it.

        job.main(given[1:])
        return
    run(create_service, TrainerSettings, "trainer", arguments=arguments)


if __name__ == "__main__":
    main()
