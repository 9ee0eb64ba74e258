"""Captions a second: 32 clients at once, against one client that calls again and again.

Run it with `python -m benchmarks.captioner_batching`. Both run against a real server with the nano
BLIP-2; the lone client's server does not wait for company, so that batching is not flattered.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from captioner.settings import CaptionerSettings
from captioner.wiring import create_service
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import MemoryStore

NANO = Path(__file__).parents[1] / "models" / "nano"
CLIENTS, CALLS_EACH, LONE_CALLS = 32, 4, 32
TIMEOUT_SECONDS = 300.0
REQUIRED = 3.0


def measure(model: Path = NANO / "captioner") -> dict[str, float]:
    """Returns the ratio of the two rates, both rates in captions/s, and what is required."""
    return asyncio.run(_measure(model))


async def _measure(model: Path) -> dict[str, float]:
    alone = await _rate(CaptionerSettings(model=model, max_wait_ms=0, max_batch=1), 1, LONE_CALLS)
    together = await _rate(CaptionerSettings(model=model, max_batch=CLIENTS), CLIENTS, CALLS_EACH)
    return {
        "ratio": together / alone,
        "required": REQUIRED,
        "captions_per_second": together,
        "captions_per_second_alone": alone,
    }


async def _rate(settings: CaptionerSettings, clients: int, calls: int) -> float:
    store = MemoryStore()
    uris = _fill(store)
    descriptor = pb.DESCRIPTOR.services_by_name["CaptionerService"]
    async with (
        running(create_service(settings, store)) as server,
        open_channel(server.target, descriptor) as channel,
    ):
        stub = rpc.CaptionerServiceStub(channel)
        await _call(stub, uris[:2])  # the first calls pay for what is set up once
        began = time.perf_counter()
        await asyncio.gather(
            *(
                _call(stub, [uris[(c + i) % len(uris)] for i in range(calls)])
                for c in range(clients)
            )
        )
        return clients * calls / (time.perf_counter() - began)


async def _call(stub: rpc.CaptionerServiceStub, uris: Sequence[str]) -> None:
    for uri in uris:
        request = pb.CaptionImageRequest(image_uri=uri, prefix="a photo of")
        await stub.CaptionImage(request, timeout=TIMEOUT_SECONDS)


def _fill(store: MemoryStore) -> list[str]:
    rows = pq.read_table(NANO / "demo" / "test.parquet").slice(0, 64).to_pylist()
    for index, row in enumerate(rows):
        store.put(f"images/{index}.jpg", row["image"]["bytes"])
    return [f"store:images/{index}.jpg" for index in range(len(rows))]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
