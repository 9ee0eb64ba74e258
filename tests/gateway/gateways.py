"""Real gateway processes on one PostgreSQL and one store, in front of the doubles."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.server import Service, running
from servicekit.storage import DirectoryStore
from tests.gateway import doubles
from tests.gateway.system import FIVE, System
from tests.tests_ports import free_port

SECONDS = 60


async def until(holds):
    """Waits until an async function says so."""
    async with asyncio.timeout(SECONDS):
        while not await holds():
            await asyncio.sleep(0.05)


@dataclass
class Gateway(System):
    """One gateway process and stubs for it."""

    name: str
    process: subprocess.Popen
    log: Path

    def send(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    async def kill(self):
        """Ends it as an out-of-memory killer does."""
        self.send(signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)

    async def has_said(self, text):
        return text in self.log.read_text()

    async def progress(self, operation):
        """Returns how far an operation is, as this gateway sees it."""
        request = operations_pb2.GetOperationRequest(name=operation.name)
        found = await self.operations.GetOperation(request, timeout=20)
        told = pb.OperationProgress()
        found.metadata.Unpack(told)
        return told

    async def cancel(self, operation):
        request = operations_pb2.CancelOperationRequest(name=operation.name)
        await self.operations.CancelOperation(request, timeout=20)


@dataclass
class Gateways:
    """Starts gateways that share all there is to share."""

    folder: Path
    database_url: str
    target: str  # Of the doubles.
    store: DirectoryStore
    trouble: doubles.Trouble
    lease_seconds: int = 5  # So that a test need not wait; those of a busy machine are not lost.

    @asynccontextmanager
    async def started(self, *names):
        """Runs gateways that begin at the same moment, each ready in the block."""
        found = [self._begin(name) for name in names]
        try:
            for one in found:
                await self._is_ready(one)
            yield found
        finally:
            for one in found:
                one.send(signal.SIGKILL)
                await asyncio.to_thread(one.process.wait)

    def _begin(self, name):
        port, log = free_port(), self.folder / f"{name}.log"
        values = {
            "SERVER_PORT": port,
            "SERVER_STORE": self.store.root.as_uri(),
            "GATEWAY_DATABASE_URL": self.database_url,
            "GATEWAY_EXECUTOR_ID": name,
            "GATEWAY_LEASE_SECONDS": self.lease_seconds,
            "GATEWAY_SHARD_SIZE": 4,
            "GATEWAY_IMPORT_ROOTS": self.folder,
            **{f"GATEWAY_{service.upper()}": self.target for service in FIVE},
        }
        environ = os.environ | {key: str(value) for key, value in values.items()}
        with log.open("wb") as file:
            command = [sys.executable, "-m", "gateway"]
            process = subprocess.Popen(command, env=environ, stdout=file, stderr=file)
        channel = open_channel(
            f"127.0.0.1:{port}", pb.DESCRIPTOR.services_by_name["GatewayService"]
        )
        return Gateway(
            rpc.GatewayServiceStub(channel),
            operations_pb2_grpc.OperationsStub(channel),
            self.store,
            self.trouble,
            {"health": health_pb2_grpc.HealthStub(channel)},
            None,
            name,
            process,
            log,
        )

    async def _is_ready(self, gateway):
        async def serves():
            assert gateway.process.poll() is None, gateway.log.read_text()
            request = health_pb2.HealthCheckRequest()
            answer = await gateway.doubles["health"].Check(
                request, timeout=SECONDS, wait_for_ready=True
            )
            return answer.status == health_pb2.HealthCheckResponse.SERVING

        await until(serves)

    def owners(self):
        """Returns the names of the gateways that have work."""
        pending = "SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING'"
        return {row[0].partition(".")[0] for row in self._ask(pending)}

    def recorded(self):
        """Returns how many shards are written down, of a block that is not decided."""
        return sum("/shards/" in key for key in self.store.list("work/"))

    def _ask(self, query):
        with psycopg.connect(self.database_url) as database:
            return database.execute(query).fetchall()


@asynccontextmanager
async def sharing(folder, database_url, trouble):
    """Runs the doubles, for gateways to be started in front of them."""
    store = DirectoryStore(folder / "objects", durable=False)

    async def nothing():
        pass

    def register(server):
        doubles.add_to(server, store, trouble)

    async with running(Service("doubles", (), register, nothing, nothing)) as five:
        yield Gateways(folder, database_url, five.target, store, trouble)
