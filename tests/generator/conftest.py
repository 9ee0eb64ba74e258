"""Engines on tiny random models and on the nano models, and pictures to condition on."""

import numpy as np
import pytest
import torch
from PIL import Image

from generator.engine.engine import Engine
from generator.engine.registry import scan
from generator.engine.settings import EngineSettings
from generator.settings import GeneratorSettings
from tests.generator import tiny

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
def nano_engine(nano_folder):
    engine = Engine(scan(nano_folder), EngineSettings(deterministic_rows=8))
    yield engine
    engine.close()


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
