"""32 clients that embed one image each at the same time, against the same calls one at a time.

Run it with `python -m benchmarks.clip_batching`. The ratio is images per second of the concurrent
clients over those of the lone one, through a real server with the nano CLIP.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc

from retriever.settings import RetrieverSettings
from retriever.wiring import create_service
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import MemoryStore, ObjectStore, to_uri

NANO = Path(__file__).parents[1] / "models" / "nano"
CLIENTS, ROUNDS = 32, 4
REQUIRED = 1.5

# The generated stubs have no types.
Stub = Any


def measure() -> dict[str, float]:
    """Returns the ratio, and images per second alone and together."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, float]:
    store = MemoryStore()
    uris = _put_images(store)
    service = create_service(RetrieverSettings(clip=NANO / "clip"), store)
    async with running(service) as server, open_channel(server.target) as channel:
        stub = retriever_pb2_grpc.RetrieverServiceStub(channel)
        await _together(stub, uris)  # warms up: threads, connections, torch's kernels
        # Taken in turns, so that what else the machine does weighs on both alike.
        rounds = [(await _alone(stub, uris), await _together(stub, uris)) for _ in range(ROUNDS)]
    alone, together = (min(seconds) for seconds in zip(*rounds, strict=True))
    return {
        "ratio": alone / together,
        "required": REQUIRED,
        "images_per_second_alone": CLIENTS / alone,
        "images_per_second_together": CLIENTS / together,
        "clients": CLIENTS,
    }


def _put_images(store: ObjectStore) -> list[str]:
    column = pq.read_table(NANO / "demo" / "pool.parquet", columns=["image"])["image"]
    uris = []
    images: list[Any] = column.slice(0, CLIENTS).to_pylist()
    for row, image in enumerate(images):
        store.put(f"images/{row}.jpg", image["bytes"])
        uris.append(to_uri(f"images/{row}.jpg"))
    return uris


async def _alone(stub: Stub, uris: list[str]) -> float:
    started = time.perf_counter()
    for uri in uris:
        await _embed(stub, uri)
    return time.perf_counter() - started


async def _together(stub: Stub, uris: list[str]) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(_embed(stub, uri) for uri in uris))
    return time.perf_counter() - started


async def _embed(stub: Stub, uri: str) -> None:
    await stub.EmbedImages(pb.EmbedImagesRequest(image_uris=[uri]), timeout=120)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
