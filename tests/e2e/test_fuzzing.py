"""What no client should send, to every method of all services: refused in order, never broken.

`make fuzz` sends many more: FUZZ_CALLS to each service, drawn by FUZZ_SEED from FUZZ_FIRST on, and
writes what was answered into FUZZ_LOG; tests/e2e/fuzzing.md says what that has found.
"""

import json
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
import pytest_asyncio
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from variegate.generator.v1 import generator_pb2, generator_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from embedded.system import EmbeddedSystem
from servicekit.operations import wait_for
from servicekit.places import SERVICES
from tests.probing import Probe, Shots

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SEED, CALLS = int(os.environ.get("FUZZ_SEED", "8")), int(os.environ.get("FUZZ_CALLS", "120"))
FIRST, LOG = int(os.environ.get("FUZZ_FIRST", "0")), os.environ.get("FUZZ_LOG", "")
# The log has a line for so many calls.
CHUNK = 5000
# What all services together, and the caller, may grow by once they are warm.
MOST_MIB = 512
MANIFEST = "store:datasets/photos/manifest.parquet"


@dataclass
class Running:
    """The six services, what they know, and where they log."""

    channels: dict[str, grpc.aio.Channel]
    known: dict[str, list[str]]
    names: dict[str, str]
    log: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory, photographs):
    root = tmp_path_factory.mktemp("fuzzed")
    photos, tests = photographs / "train", photographs / "test"
    async with EmbeddedSystem(root / "state", (photographs,)) as running:
        channels = {name: grpc.aio.insecure_channel(running.targets[name]) for name in SERVICES}
        source = gateway_pb2.DatasetSource(train_uri=photos.as_uri(), test_uri=tests.as_uri())
        request = gateway_pb2.ImportDatasetRequest(dataset_id="photos", source=source)
        gateway = gateway_pb2_grpc.GatewayServiceStub(channels["gateway"])
        await ended(channels["gateway"], await gateway.ImportDataset(request, timeout=30))
        index = retriever_pb2.CreateIndexRequest(index_id="photos", pool_uri=MANIFEST)
        retriever = retriever_pb2_grpc.RetrieverServiceStub(channels["retriever"])
        await ended(channels["retriever"], await retriever.CreateIndex(index, timeout=30))
        images = sorted((root / "state/objects").rglob("images/*/*"))
        uris = [f"store:{path.relative_to(root / 'state/objects')}" for path in images]
        names = {
            "image": uris[0],
            "other": uris[1],
            "photos": photos.as_uri(),
            "tests": tests.as_uri(),
        }
        names |= {"manifest": MANIFEST, "operation": "operations/datasets/photos"}
        yield Running(channels, known(uris, photos), names, root / "state/variegate.log")
        for channel in channels.values():
            await channel.close()


async def ended(channel: grpc.aio.Channel, operation) -> None:
    operations = operations_pb2_grpc.OperationsStub(channel)
    assert not (await wait_for(operations, operation.name, 60)).HasField("error")


def known(images: list[str], photos: Path) -> dict[str, list[str]]:
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
        "index": ["indexes/photos", "indexes/dog"],
        "training_run": ["trainingRuns/dog"],
        "model": ["text", "pix2pix", "unclip"],
        "method": ["mvc", "simple", "retrieval", "textual_inversion"],
        "strategy": ["real", "simple", "combined"],
        "classifier": ["cnn4"],
        "policy": ["none", "standard"],
        "image_size": ["0", "32"],
        "prompt_count": ["1", "2"],
        "steps": ["1", "2"],
        "step_count": ["1", "2"],
    }


def resident_mib() -> float:
    """Returns the memory of this process, in which the services are, and of those it started."""
    own, total = psutil.Process(), 0
    for one in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total / 2**20


def write_down(name: str, numbers: range, probe: Probe, seconds: float, mib: float) -> None:
    """Appends what was sent to a service, and what came back, to the log."""
    calls: dict[str, dict[str, int]] = {}
    for (path, code), count in sorted(probe.sent.items()):
        calls.setdefault(path, {})[code] = count
    line = {
        "service": name,
        "seed": SEED,
        "first": numbers.start,
        "end": numbers.stop,
        "cpu_seconds": round(seconds),
        "resident_mib": round(mib),
        "calls": calls,
        "faults": [
            {"what": what, "count": count, "number": probe.examples[what]}
            for what, count in probe.faults.items()
        ],
    }
    with Path(LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("name", SERVICES)
async def test_whatever_is_sent_is_answered_in_order(system, name):
    shots = Shots(name, SEED, system.known, system.names)
    faults, codes = Counter(), Counter()
    warm = 0.0
    for first in range(FIRST, FIRST + CALLS, CHUNK):
        numbers = range(first, min(first + CHUNK, FIRST + CALLS))
        probe, started = Probe(system.channels[name]), time.process_time()
        await probe.fire(shots, numbers)
        mib = resident_mib()
        if LOG:
            write_down(name, numbers, probe, time.process_time() - started, mib)
        faults, codes, warm = faults + probe.faults, codes + probe.codes(), warm or mib
        assert mib - warm < MOST_MIB
    assert not faults, codes
    assert codes["INVALID_ARGUMENT"] > codes.total() / 4, codes
    assert codes["OK"] > codes.total() / 20, codes


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
