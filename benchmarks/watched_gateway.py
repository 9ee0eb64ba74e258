"""The gateway as a program of its own, whose memory, time and database are watched."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from gateway.durable.database import sqlite_url
from gateway.settings import GatewaySettings
from servicekit.channels import open_channel
from servicekit.storage import DirectoryStore
from tests.gateway.doubles import Trouble
from tests.gateway.system import FIVE, System
from tests.tests_ports import free_port

_TICKS = os.sysconf("SC_CLK_TCK")


class WatchedGateway:
    """Starts the gateway on the state in a folder, and kills it at the end of the block."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._database = folder / "gateway.sqlite"
        self.peak_mib, self.database_bytes = 0.0, 0
        values = {
            "SERVER_PORT": self._port,
            "SERVER_STORE": (folder / "objects").as_uri(),
            "GATEWAY_DATABASE_URL": sqlite_url(self._database),
            "GATEWAY_IMPORT_ROOTS": folder,
            **{f"GATEWAY_{service.upper()}": target for service in FIVE},
        }
        self._environ = os.environ | {key: str(value) for key, value in values.items()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[System]:
        """Gives stubs for the gateway once it serves."""
        address = f"127.0.0.1:{self._port}"
        self._process = self._begin()
        service = pb.DESCRIPTOR.services_by_name["GatewayService"]
        try:
            async with open_channel(address, service) as channel:
                await _serving(health_pb2_grpc.HealthStub(channel))
                yield System(
                    rpc.GatewayServiceStub(channel),
                    operations_pb2_grpc.OperationsStub(channel),
                    DirectoryStore(self.folder / "objects"),
                    Trouble(),
                    {},
                    GatewaySettings(),
                )
        finally:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gateway"]
        with (self.folder / "gateway.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)

    def cpu_seconds(self) -> float:
        """Returns the time that the program has computed since it was started."""
        fields = self._file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def note(self) -> None:
        """Notes the peak of its memory, and the size of the database."""
        peak = next(one for one in self._file("status").splitlines() if one.startswith("VmHWM"))
        self.peak_mib = max(self.peak_mib, int(peak.split()[1]) / 1024)
        files = self._database.parent.glob(f"{self._database.name}*")
        self.database_bytes = max(self.database_bytes, sum(file.stat().st_size for file in files))

    def _file(self, name: str) -> str:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


async def _serving(health: health_pb2_grpc.HealthStub) -> None:
    request = health_pb2.HealthCheckRequest()
    while True:
        answer = await health.Check(request, timeout=60, wait_for_ready=True)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        await asyncio.sleep(0.05)
