"""Engines on tiny random models and on the nano models, and pictures to condition on."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.registry import scan
from generator.backends import start_engine, start_triton
from generator.engine.engine import Engine
from generator.engine.settings import EngineSettings
from generator.settings import GeneratorSettings
from generator.triton.launcher import LocalTriton
from imaging.encode import encode_png
from servicekit.storage import MemoryStore, open_store, to_key
from tests.generator import learned, tiny
from tests.generator.calls import NOISE, PHOTO, serving

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return tiny.save_family(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def nano_folder():
    return GeneratorSettings().models_folder


@pytest.fixture(scope="session")
def tiny_engine(tiny_folder):
    engine = Engine(scan(tiny_folder), EngineSettings(deterministic_rows=4, decode_batch=3))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def nano_settings():
    return GeneratorSettings(threads=1, deterministic_rows=8)


@pytest.fixture(scope="session")
def weights_url(tmp_path_factory):
    """The store that engines fetch variants from; Triton's is fixed when it starts."""
    return tmp_path_factory.mktemp("weights").as_uri()


@pytest.fixture(scope="session")
def weights(weights_url):
    return open_store(weights_url)


@pytest.fixture(scope="session")
def nano_engine(nano_settings, weights):
    engine = start_engine(nano_settings, weights)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory, nano_settings, weights_url):
    """The one Triton of the session, on the nano models."""
    with LocalTriton(tmp_path_factory.mktemp("triton"), nano_settings, weights_url) as server:
        yield server


@pytest.fixture(scope="session")
def triton_backend(triton_server):
    backend = start_triton(triton_server.settings, MemoryStore())
    assert backend.is_healthy()
    yield backend
    backend.close()


@pytest.fixture(
    params=[
        "nano_engine",
        pytest.param("triton_backend", marks=[pytest.mark.servers, pytest.mark.heavy]),
    ]
)
def backend(request):
    """Each way to make images, on the nano models."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(photo):
    store = MemoryStore()
    store.put(to_key(PHOTO), encode_png(photo))
    store.put(to_key(NOISE), b"this is not an image")
    return store


@pytest.fixture
async def stub(backend, store):
    async with serving(backend, store) as stub:
        yield stub


@pytest.fixture(params=["tiny", "nano"])
def engine(request):
    """The engine on each of the two families."""
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture(scope="session")
def photo():
    """A picture of smooth colours, 32 x 32."""
    return picture(0)


def picture(seed):
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((32, 32), Image.Resampling.BICUBIC)


@pytest.fixture
def shelf():
    return learned.Shelf()
