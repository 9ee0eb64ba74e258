"""Servers of other projects that we start: they end when we do, also when we are killed."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

# Runs the command and ends it when standard input closes, which the system does if we are killed.
_LEASH = """
exec 3<&0
"$@" 3<&- &
child=$!
{ read -r _ <&3; kill -TERM $child; } 2>/dev/null &
wait $child
code=$?
kill $! 2>/dev/null
exit $code
"""


def start_leashed(
    command: Sequence[str], log: IO[bytes], env: Mapping[str, str], folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Starts a command in a process group of its own, with both outputs in `log`."""
    return subprocess.Popen(
        ["bash", "-c", _LEASH, command[0], *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=folder,
        start_new_session=True,
    )


def stop_leashed(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Ends the command with everything it started; True if it ended by itself within `seconds`."""
    signal_group(process, signal.SIGCONT)
    if process.stdin is not None:
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    ended = process.poll() is not None
    signal_group(process, signal.SIGKILL)
    process.wait()
    return ended


def signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Sends a signal to the command and everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
