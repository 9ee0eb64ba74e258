"""The command line as a person runs it, in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finished:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """Runs `variegate` in a folder of its own, so that its state is its own too."""

    folder: Path

    def start(self, *args: str | Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
        environ = {**os.environ, "OMP_NUM_THREADS": "2", "COLUMNS": "200"}
        path = os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")])
        environ["PYTHONPATH"] = path
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *args: str | Path, timeout: float = 280) -> Finished:
        process = self.start(*args)
        out, err = process.communicate(timeout=timeout)
        return Finished(process.returncode, out, err)
