"""Requests to a generator service, and how it is served for a test."""

import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.statuses import from_status

TIMEOUT = 120.0
PHOTO, NOISE = "store:images/photo.png", "store:images/noise.txt"


class Borrowed:
    """An engine that outlives the service that uses it."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def close(self):
        pass


@asynccontextmanager
async def serving(engine, store):
    service = create_service(GeneratorSettings(), store, lambda settings, store: Borrowed(engine))
    async with (
        running(service) as server,
        open_channel(server.target, pb.DESCRIPTOR.services_by_name["GeneratorService"]) as channel,
    ):
        yield rpc.GeneratorServiceStub(channel)


def request(*items, model="text", steps=3, scale=3.0, **sampling):
    return pb.GenerateImagesRequest(
        model=model,
        sampling=pb.SamplingParameters(steps=steps, guidance_scale=scale, **sampling),
        items=items,
    )


def item(item_id="a", prompt="a dog", **values):
    return pb.Item(item_id=item_id, text=pb.TextCondition(prompt=prompt), **values)


def tensor(values, encoder, kind="<f4"):
    number = pb.DATA_TYPE_FLOAT16 if kind == "<f2" else pb.DATA_TYPE_FLOAT32
    array = np.asarray(values, dtype=kind)
    return pb.Tensor(data=array.tobytes(), shape=array.shape, data_type=number, encoder=encoder)


async def answers(stub, wanted):
    return {r.item_id: r async for r in stub.GenerateImages(wanted, timeout=TIMEOUT)}


async def error_of(stub, wanted, item_id="a"):
    answer = (await answers(stub, wanted))[item_id]
    assert answer.WhichOneof("result") == "error", answer
    return from_status(answer.error)


async def models_of(stub):
    models = (await stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT)).models
    return {model.name: model for model in models}


def start(uri, strength):
    return pb.ImageCondition(start=pb.StartImage(image_uri=uri, strength=strength))


def zeros(*shape):
    return np.zeros(shape, np.float32)


async def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
