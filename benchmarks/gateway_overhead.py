"""What the gateway adds to each item, with engines that answer at once.

Run it with `python -m benchmarks.gateway_overhead`. The five services are the doubles of the
gateway's tests: real gRPC servers that store a small noise image for each item. The alternative
sends them the same items in the same packing without a gateway: no plan, no durable steps, no
lineage, no manifest. The two take turns; the ratio is its time over the gateway's.
"""

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import grpc
import numpy as np
from google.longrunning import operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc
from variegate.generator.v1 import generator_pb2, generator_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from benchmarks.paired import ratios
from gateway.durable.database import sqlite_url
from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from imaging.encode import encode_png
from servicekit.operations import wait_for
from servicekit.server import running
from servicekit.storage import DirectoryStore
from tests.gateway.doubles import Trouble, add_to

PER_CLASS, CLASSES, PACK = 500, 2, 32
TURNS = 8


def measure() -> dict[str, float]:
    """Returns the ratio, both times per item in milliseconds, and what the gateway adds."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_images(folder / "images")
        store = DirectoryStore(folder / "objects")
        server = grpc.aio.server()
        add_to(server, store, Trouble())
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        settings = GatewaySettings(
            captioner=target,
            prompter=target,
            generator=target,
            retriever=target,
            trainer=target,
            import_roots=(str(folder),),
            database_url=sqlite_url(folder / "gateway.sqlite"),
        )
        async with running(create_service(settings, store)) as gateway:
            direct, through = await _turns(target, gateway.target, folder)
        await server.stop(0)
    items = PER_CLASS * CLASSES
    added = [ours - bare for bare, ours in zip(direct, through, strict=True)]
    return {
        **ratios(direct, through),
        "required": 0.7,
        "gateway_ms_per_item": 1000 * statistics.median(through) / items,
        "direct_ms_per_item": 1000 * statistics.median(direct) / items,
        "added_ms_per_item": 1000 * statistics.median(added) / items,
    }


async def _turns(target: str, gateway: str, folder: Path) -> tuple[list[float], list[float]]:
    """Returns the seconds of every turn without the gateway and with it, after one that warms."""
    direct, through = [], []
    async with grpc.aio.insecure_channel(gateway) as channel:
        await _import(channel, folder)
        for turn in range(1 + TURNS):
            direct.append(await _direct(target, turn))
            through.append(await _through(channel, turn))
    return direct[1:], through[1:]


def _write_images(folder: Path) -> None:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            (folder / label / f"{number}.png").write_bytes(encode_png(pixels))


async def _import(channel: grpc.aio.Channel, folder: Path) -> None:
    source = pb.DatasetSource(train_uri=(folder / "images").as_uri())
    request = pb.ImportDatasetRequest(dataset_id="tiny", source=source)
    operation = await rpc.GatewayServiceStub(channel).ImportDataset(request, timeout=30)
    await wait_for(operations_pb2_grpc.OperationsStub(channel), operation.name)


async def _through(channel: grpc.aio.Channel, turn: int) -> float:
    began = time.perf_counter()
    create = pb.CreateAugmentationRequest(
        parent="datasets/tiny",
        augmentation_id=f"turn-{turn}",
        augmentation=pb.Augmentation(method="simple", images_per_class=PER_CLASS, seed=turn),
    )
    operation = await rpc.GatewayServiceStub(channel).CreateAugmentation(create, timeout=30)
    operations = operations_pb2_grpc.OperationsStub(channel)
    done = await wait_for(operations, operation.name, poll_seconds=0.02)
    if done.HasField("error"):
        raise RuntimeError(done.error.message)
    return time.perf_counter() - began


async def _direct(target: str, turn: int) -> float:
    items = PER_CLASS * CLASSES
    async with grpc.aio.insecure_channel(target) as channel:
        generator = generator_pb2_grpc.GeneratorServiceStub(channel)
        retriever = retriever_pb2_grpc.RetrieverServiceStub(channel)
        began = time.perf_counter()
        seeds = range(turn * items, (turn + 1) * items)
        for start in range(0, items, PACK):
            await _make_and_screen(generator, retriever, seeds[start : start + PACK])
        return time.perf_counter() - began


async def _make_and_screen(
    generator: generator_pb2_grpc.GeneratorServiceStub,
    retriever: retriever_pb2_grpc.RetrieverServiceStub,
    seeds: range,
) -> None:
    items = [generator_pb2.Item(item_id=str(seed), seed=10**9 + seed) for seed in seeds]
    request = generator_pb2.GenerateImagesRequest(model="text", items=items)
    uris = [answer.image.uri async for answer in generator.GenerateImages(request, timeout=60)]
    candidates = [retriever_pb2.Candidate(image_uri=uri) for uri in uris]
    screen = retriever_pb2.ScreenImagesRequest(candidates=candidates)
    await retriever.ScreenImages(screen, timeout=60)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
