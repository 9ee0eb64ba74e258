"""A captioner server with the nano model, and one of random weights for the algorithm."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from captioner.blip import BlipCaptioner
from captioner.settings import CaptionerSettings
from captioner.wiring import create_service
from imaging.encode import encode_png
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import MemoryStore

ROOT = Path(__file__).parents[2]
NANO = ROOT / "models/nano/captioner"


def load_sibling(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"captioner_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return load_sibling("tiny_blip").write_tiny_blip(tmp_path_factory.mktemp("tiny-blip"))


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    return BlipCaptioner(tiny_folder)


@pytest.fixture(scope="session")
def nano():
    return BlipCaptioner(NANO)


@pytest.fixture(scope="session")
def photographs():
    """Twenty shipped photographs, as (JPEG bytes, class name)."""
    rows = pq.read_table(ROOT / "models/nano/demo/test.parquet").slice(0, 20).to_pylist()
    return [(row["image"]["bytes"], row["class_name"]) for row in rows]


@pytest.fixture(scope="session")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)) for _ in range(9)]


@pytest.fixture
def store(photographs):
    store = MemoryStore()
    for index, (data, _) in enumerate(photographs):
        store.put(f"images/{index}.jpg", data)
    store.put("images/broken.jpg", photographs[0][0][:-200])
    store.put("images/words.jpg", b"these are words")
    store.put("images/plain.png", encode_png(np.full((32, 32, 3), 128, np.uint8)))
    return store


@pytest.fixture
async def server(store):
    async with running(create_service(CaptionerSettings(model=NANO), store)) as server:
        yield server


@pytest.fixture
async def stub(server):
    async with open_channel(
        server.target, pb.DESCRIPTOR.services_by_name["CaptionerService"]
    ) as channel:
        yield rpc.CaptionerServiceStub(channel)
