"""Python processes that we start: their code is ours, never the current folder's."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Of a folder "trainer" or a file "torch.py" where somebody works, Python would take code otherwise:
# "-m" puts the current folder first. The variable does the same for what the child itself starts.
_SAFE_FLAG, _SAFE_KEY, _PATH_KEY = "-P", "PYTHONSAFEPATH", "PYTHONPATH"


def python_command(module: str, *arguments: str) -> Sequence[str]:
    """Returns the command that runs a module with this Python; give it a `python_environment`."""
    return (sys.executable, _SAFE_FLAG, "-m", module, *arguments)


def python_environment(environ: Mapping[str, str], *roots: Path) -> dict[str, str]:
    """Returns `environ` for a Python process, with the folders `roots` first on its path.

    What would mean the current folder is left out of the path: empty and relative entries.
    """
    inherited = environ.get(_PATH_KEY, "").split(os.pathsep)
    entries = [str(root.absolute()) for root in roots]
    entries += [entry for entry in inherited if Path(entry).is_absolute()]
    return {**environ, _PATH_KEY: os.pathsep.join(dict.fromkeys(entries)), _SAFE_KEY: "1"}
