"""Folders of test processes outside of pytest's, which those that were killed left behind."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def own_folder(prefix):
    """Makes a folder of this process, which goes with it; removes those of dead ones."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner, mark, _ = folder.name.removeprefix(prefix).partition("-")
        if mark and owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
