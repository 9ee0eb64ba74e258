"""What no client should send, to every method of all services: refused in order, never broken.

`make fuzz` sends many more: FUZZ_CALLS to each service, drawn by FUZZ_SEED, and writes what was
answered into FUZZ_LOG.
"""

import asyncio
import importlib
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
import pytest
import pytest_asyncio
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from odd_messages import OddMessages
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from variegate.generator.v1 import generator_pb2, generator_pb2_grpc

from embedded.system import EmbeddedSystem
from servicekit.operations import wait_for
from servicekit.places import SERVICES

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SEED, CALLS = int(os.environ.get("FUZZ_SEED", "8")), int(os.environ.get("FUZZ_CALLS", "120"))
LOG = os.environ.get("FUZZ_LOG", "")
AT_ONCE, SECONDS = 8, 15
# What all services together, and the caller, may grow by once they are warm.
WARM_CALLS, MOST_MIB = 1000, 512
_BATCH = 10 * AT_ONCE
# These wait by design.
WAITING = ("/Watch", "/WatchMetrics", "/WaitOperation", "/WritePrompts", "/DescribeSenses")
# What a client tries again, and what is our fault.
WRONG = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DATA_LOSS"}
MANIFEST = "store:datasets/photos/manifest.parquet"


@dataclass
class Running:
    """The six services, what they know, and where they log."""

    channels: dict[str, grpc.aio.Channel]
    known: dict[str, list[str]]
    log: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory, photographs):
    root = tmp_path_factory.mktemp("fuzzed")
    photos = photographs / "train"
    async with EmbeddedSystem(root / "state", (photos,)) as running:
        channels = {name: grpc.aio.insecure_channel(running.targets[name]) for name in SERVICES}
        source = gateway_pb2.DatasetSource(train_uri=photos.as_uri())
        request = gateway_pb2.ImportDatasetRequest(dataset_id="photos", source=source)
        gateway = gateway_pb2_grpc.GatewayServiceStub(channels["gateway"])
        operation = await gateway.ImportDataset(request, timeout=30)
        operations = operations_pb2_grpc.OperationsStub(channels["gateway"])
        assert not (await wait_for(operations, operation.name, 60)).HasField("error")
        yield Running(
            channels, known(root / "state" / "objects", photos), root / "state/variegate.log"
        )
        for channel in channels.values():
            await channel.close()


def known(objects: Path, photos: Path) -> dict[str, list[str]]:
    images = [f"store:{path.relative_to(objects)}" for path in objects.rglob("images/*/*")]
    operations = [
        "operations/datasets/photos",
        "operations/trainer-dog",
        "operations/retriever-dog",
    ]
    return {
        "any": ["dog", "ship", "a", "airplane"],
        "image_uri": images,
        "image_uris": images,
        "manifest_uri": [MANIFEST],
        "synthetic_manifest_uri": [MANIFEST, ""],
        "pool_uri": [MANIFEST],
        "parent": ["datasets/photos"],
        "dataset": ["datasets/photos"],
        "name": [*operations, "datasets/photos", "indexes/dog", "trainingRuns/dog", "studies/a"],
        "train_uri": [photos.as_uri(), str(photos)],
        "test_uri": [""],
        "page_token": ["", *operations],
        "item_id": [f"item-{number}" for number in range(100)],
        "index": ["indexes/dog"],
        "training_run": ["trainingRuns/dog"],
        "model": ["text", "pix2pix", "unclip"],
        "method": ["mvc", "simple", "retrieval"],
        "strategy": ["real", "simple", "combined"],
        "classifier": ["cnn4"],
        "policy": ["none", "standard"],
        "image_size": ["0", "32"],
        "prompt_count": ["1", "2"],
        "steps": ["1", "2"],
        "step_count": ["1", "2"],
    }


def methods(name: str) -> list[tuple[str, MethodDescriptor]]:
    own = importlib.import_module(f"variegate.{name}.v1.{name}_pb2").DESCRIPTOR
    files = [own, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR]
    if name in ("gateway", "retriever", "trainer"):
        files.append(operations_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    return [(f"/{one.full_name}/{m.name}", m) for one in services for m in one.methods]


@dataclass
class Probe:
    """Sends to one service, and collects what should not have come back."""

    channel: grpc.aio.Channel
    faults: Counter = field(default_factory=Counter)
    answered: Counter = field(default_factory=Counter)
    sent: Counter = field(default_factory=Counter)  # By method and code.

    async def send(self, path: str, method: MethodDescriptor, parts: list[bytes], seconds: float):
        """Sends bytes; a call is cancelled after `seconds` if that is less than a second."""
        kind = ["unary", "stream"]
        shape = f"{kind[method.client_streaming]}_{kind[method.server_streaming]}"
        call = getattr(self.channel, shape)(path)(
            iter(parts) if method.client_streaming else parts[0], timeout=max(seconds, 1)
        )
        try:
            async with asyncio.timeout(seconds if seconds < 1 else seconds + 5):
                if method.server_streaming:
                    async for _ in call:
                        pass
                    self.sent[path, "OK"] += 1
                    return None
                answer = await call
                self.sent[path, "OK"] += 1
                return answer
        except TimeoutError:
            call.cancel()
            self.sent[path, "CANCELLED by the caller"] += 1
            if seconds >= 1:
                self.faults[path, "HANGS"] += 1
        except grpc.aio.AioRpcError as error:
            self._judge(path, error)
        return None

    def _judge(self, path: str, error: grpc.aio.AioRpcError) -> None:
        code = error.code().name
        self.answered[code] += 1
        self.sent[path, code] += 1
        if "Received message larger than max" in error.details():
            return  # Of gRPC itself, before any service sees it.
        if code in WRONG:
            self.faults[path, code, error.details()] += 1
        if code == "DEADLINE_EXCEEDED" and path.endswith(WAITING):
            return  # Of the client itself, without a status.
        status = rpc_status.from_call(error)
        details = status.details if status else ()
        if not any(one.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for one in details):
            self.faults[path, code, "no ErrorInfo", error.details()] += 1
        elif status.ByteSize() > 4096:
            self.faults[path, code, f"a status of {status.ByteSize()} bytes"] += 1


async def fuzz(probe: Probe, name: str, values: dict[str, list[str]]) -> None:
    chance, turn = random.Random(SEED), asyncio.Semaphore(AT_ONCE)
    odd = OddMessages(SEED, values)
    cancel = operations_pb2.DESCRIPTOR.services_by_name["Operations"].methods_by_name[
        "CancelOperation"
    ]

    async def one(path, method, parts, seconds):
        async with turn:
            answer = await probe.send(path, method, parts, seconds)
        if answer and path.startswith("/variegate.") and method.output_type.name == "Operation":
            started = operations_pb2.Operation.FromString(answer).name
            request = operations_pb2.CancelOperationRequest(name=started).SerializeToString()
            where = "/google.longrunning.Operations/CancelOperation"
            await probe.send(where, cancel, [request], SECONDS)

    served = methods(name)

    def drawn(number):
        path, method = served[number % len(served)]
        parts = []
        for _ in range(chance.choice((1, 3)) if method.client_streaming else 1):
            message = odd.make(method.input_type, oddity=chance.choice((0.0, 0.05, 0.2)))
            data = message.SerializeToString()
            parts.append(chance.choice((data, data, data, data, odd.mutated(data), odd.noise())))
        seconds = 1.0 if path.endswith(WAITING) else SECONDS
        return one(path, method, parts, 0.05 if chance.random() < 0.06 else seconds)

    warm = 0.0
    for first in range(0, CALLS, _BATCH):
        await asyncio.gather(*map(drawn, range(first, min(first + _BATCH, CALLS))))
        if not warm and first >= WARM_CALLS:
            warm = resident_mib()
    if warm:
        assert resident_mib() - warm < MOST_MIB


def resident_mib() -> float:
    """Returns the memory of this process, in which the services are, and of those it started."""
    own = psutil.Process()
    return sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 2**20


def write_down(name: str, probe: Probe) -> None:
    """Appends what was sent to a service, and what came back, to the log."""
    calls: dict[str, dict[str, int]] = {}
    for (path, code), count in sorted(probe.sent.items()):
        calls.setdefault(path, {})[code] = count
    faults = [[*map(str, what), count] for what, count in probe.faults.items()]
    line = {"service": name, "seed": SEED, "calls": calls, "faults": faults}
    with Path(LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("name", SERVICES)
async def test_whatever_is_sent_is_answered_in_order(system, name):
    probe = Probe(system.channels[name])
    await fuzz(probe, name, system.known)
    if LOG:
        write_down(name, probe)
    assert not probe.faults
    assert probe.answered["INVALID_ARGUMENT"] > 10, probe.answered


async def test_after_all_that_every_service_is_well_and_the_log_holds_no_trace(system):
    for channel in system.channels.values():
        query = health_pb2.HealthCheckRequest()
        health = await health_pb2_grpc.HealthStub(channel).Check(query, timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
    request = generator_pb2.EncodePromptsRequest(model="text", prompts=["a photo of a dog"])
    generator = generator_pb2_grpc.GeneratorServiceStub(system.channels["generator"])
    assert len((await generator.EncodePrompts(request, timeout=30)).embeddings) == 1
    records = [json.loads(line) for line in system.log.read_text().splitlines()]
    assert not [record for record in records if "Traceback" in json.dumps(record)]
