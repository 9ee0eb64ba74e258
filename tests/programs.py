"""The programs that run in a folder: those of one server, whatever else runs on the machine."""

import contextlib
from pathlib import Path

import psutil


def programs_in(folder: Path) -> dict[psutil.Process, list[str]]:
    """Returns the processes that run in a folder or below it, with their command lines.

    The shell that keeps a server on its leash is none of them.
    """
    found = {}
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # It may end meanwhile.
            if Path(one.cwd()).is_relative_to(folder) and one.name() != "bash":
                found[one] = one.cmdline()
    return found
