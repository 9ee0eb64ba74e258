"""Whatever breaks inside the engine, every item ends, others go on, and health tells the truth."""

import dataclasses
import threading

import pytest
import torch

from diffusion.autoencoder import Autoencoder
from diffusion.encoders import Encoders
from diffusion.registry import scan
from diffusion.schedules.steps import Solver
from generator.engine import denoising, engine
from generator.engine.conditions.text import TextAlone
from generator.engine.engine import Engine
from generator.engine.errors import EngineClosed, OutOfMemory
from generator.engine.model import LoadedModel
from generator.engine.settings import EngineSettings
from tests.generator.test_engine import TEXT, assert_close, made

PLACES = {
    "encode": (Encoders, "texts"),
    "begin": (TextAlone, "begin"),
    "predict": (LoadedModel, "predict"),
    "move": (Solver, "move"),
    "decode": (Autoencoder, "decode"),
    "convert": (denoising, "to_pixels"),
}
ERRORS = [
    RuntimeError("broken"),
    torch.OutOfMemoryError("out of memory"),
    MemoryError(),
    KeyError("x"),
]


@pytest.fixture
def own_engine(tiny_folder):
    found = Engine(
        scan(tiny_folder, ["text"]), EngineSettings(max_batch=4, probe_timeout_seconds=5)
    )
    yield found
    found.close()


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_an_error_at_any_place_ends_its_items_and_the_engine_goes_on(
    own_engine, monkeypatch, place, error
):
    expected = made(own_engine, TEXT)

    def broken(*arguments, **options):
        raise error

    with monkeypatch.context() as changed:
        changed.setattr(*PLACES[place], broken)
        for future in own_engine.submit_all([TEXT] * 3):
            wanted = OutOfMemory if isinstance(error, torch.OutOfMemoryError) else type(error)
            with pytest.raises((wanted, torch.OutOfMemoryError)):
                future.result(20)
        assert not own_engine.is_healthy()
    assert own_engine.is_healthy()
    assert_close(made(own_engine, TEXT), expected)


@pytest.mark.parametrize("where", ["admit", "step"])
def test_a_worker_that_dies_ends_everything_and_is_not_healthy(own_engine, monkeypatch, where):
    def dying(*arguments):
        raise SystemExit

    monkeypatch.setattr(engine.Turns, where, dying)
    futures = own_engine.submit_all([dataclasses.replace(TEXT, steps=50)] * 6)
    for future in futures:
        with pytest.raises(EngineClosed):
            future.result(20)
    assert not own_engine.is_healthy()
    with pytest.raises(EngineClosed):
        own_engine.submit(TEXT)


def test_a_worker_that_hangs_is_not_healthy_though_its_thread_lives(tiny_folder):
    found = Engine(
        scan(tiny_folder, ["text"]), EngineSettings(max_batch=1, probe_timeout_seconds=0.5)
    )
    gate = threading.Event()
    try:
        assert found.is_healthy()
        found._line.put_job(lambda: gate.wait(60) and None)
        assert not found.is_healthy()
        gate.set()
        assert found.is_healthy()
    finally:
        gate.set()
        found.close()
