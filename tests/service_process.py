"""A service as a cluster runs it: a process of its own, told everything by its environment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from command_line import ROOT
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_SECONDS = 120


@dataclass
class ServiceProcess:
    """A running service. `log_file` holds one JSON object a line."""

    name: str
    target: str
    process: subprocess.Popen
    log_file: Path

    @classmethod
    def start(cls, name: str, target: str, log_file: Path, **environ: str) -> "ServiceProcess":
        """Starts `python -m name`, which listens on `target`; see `wait`."""
        host, _, port = target.rpartition(":")
        environ = {
            **os.environ, "SERVER_HOST": host, "SERVER_PORT": port, **environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")]),
        }  # fmt: skip
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", name], env=environ, cwd=ROOT, stdout=log, stderr=log
            )
        return cls(name, target, process, log_file)

    def wait(self) -> "ServiceProcess":
        """Waits until it serves."""

        def serves() -> bool:
            assert self.process.poll() is None, self.log()
            return is_serving(self.target)

        wait_until(serves, f"{self.name} did not start", START_SECONDS)
        return self

    def log(self) -> str:
        """Returns the end of what it wrote."""
        return self.log_file.read_text()[-3000:]

    def calls(self, method: str) -> list[str]:
        """Returns how each finished call of a method ended, if it logs at DEBUG."""
        lines = self.log_file.read_text().splitlines()
        # One that was killed may have left half a line.
        found = [json.loads(line) for line in lines if method in line and line.endswith("}")]
        return [one["code"] for one in found if one["message"] == "call"]

    def end(self) -> int:
        """Ends it by SIGTERM, also one that was stopped, and returns its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(60)


def is_serving(target: str) -> bool:
    """Says whether a server's health service says so."""
    with grpc.insecure_channel(target) as channel:
        try:
            found = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=2
            )
        except grpc.RpcError:
            return False
    return found.status == health_pb2.HealthCheckResponse.SERVING


def wait_until(
    holds: Callable[[], bool], otherwise: str, seconds: float, every: float = 0.2
) -> None:
    """Waits until a condition holds; fails with what is said if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(every)
