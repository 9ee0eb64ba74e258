"""The service on the engine in its own process: what Triton has other tests for."""

import threading

import pytest
import torch
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.settings import EngineSettings
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.channels import open_channel
from servicekit.errors import Exhausted, Precondition
from servicekit.server import running
from servicekit.settings import SettingsError
from servicekit.statuses import from_status
from servicekit.storage import MemoryStore
from tests.generator import tiny
from tests.generator.calls import TIMEOUT, answers, item, models_of, request, serving, until


async def test_a_full_queue_says_when_to_try_again(tiny_folder, store, fails):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_queue=2))
    gate = threading.Event()
    try:
        async with serving(engine, store) as stub:
            engine._line.put_job(lambda: gate.wait(60) and None)
            wanted = request(item("a"), item("b"), item("c"))
            error = await fails(stub.GenerateImages(wanted, timeout=TIMEOUT))
            assert isinstance(error, Exhausted)
            assert error.retry_after > 0
            gate.set()
    finally:
        gate.set()
        engine.close()


async def test_a_batch_that_the_memory_does_not_hold_says_how_large_it_was(tmp_path, store):
    def no_memory(*_):
        raise torch.OutOfMemoryError("out of memory")

    tiny.save_text(tmp_path / "text")
    engine = Engine(scan(tmp_path), EngineSettings())
    engine._models["text"].unet.register_forward_pre_hook(no_memory)
    try:
        async with serving(engine, store) as stub:
            made = await answers(stub, request(item("a"), item("b"), item("c")))
    finally:
        engine.close()
    for answer in made.values():
        error = from_status(answer.error)
        assert isinstance(error, Exhausted)
        assert error.reason == "GPU_OUT_OF_MEMORY"
        assert error.metadata["batch_size"] == "3"
        assert error.retry_after > 0


async def test_cancelling_the_call_cancels_what_is_queued(tiny_folder, store):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings())
    gate = threading.Event()
    try:
        async with serving(engine, store) as stub:
            engine._line.put_job(lambda: gate.wait(60) and None)
            call = stub.GenerateImages(request(*(item(str(n), seed=n) for n in range(5))))
            await until(lambda: engine.waiting_count() == 5)
            call.cancel()
            await until(lambda: engine.waiting_count() == 0)
            gate.set()
            assert list(store.list("generated")) == []
    finally:
        gate.set()
        engine.close()


async def test_the_nano_models_are_served_by_default(tmp_path):
    service = create_service(GeneratorSettings(threads=1), MemoryStore())
    async with running(service) as server, open_channel(server.target) as channel:
        stub = rpc.GeneratorServiceStub(channel)
        models = await models_of(stub)
        assert {models[name].mode for name in models} == {"text", "pix2pix", "unclip"}
        wanted = pb.GenerateImagesRequest(model="text", items=[item()])
        image = (await answers(stub, wanted))["a"].image
        assert image.steps == models["text"].default_steps
        assert image.guidance_scale == models["text"].default_guidance_scale


async def test_a_folder_without_usable_models_stops_the_start(tmp_path):
    service = create_service(GeneratorSettings(models_folder=tmp_path), MemoryStore())
    with pytest.raises(Precondition, match="no model in"):
        async with running(service):
            pass


def test_an_unknown_backend_is_told_the_known_ones():
    with pytest.raises(SettingsError, match="'onnx'; use embedded or triton"):
        create_service(GeneratorSettings(backend="onnx"), MemoryStore())


async def test_another_kind_of_device_makes_other_images(tiny_folder, store, monkeypatch):
    """There is no GPU here: what the engine reports is changed, and nothing else."""
    seen = {}
    for kind in ("cpu", "cuda", "cpu"):
        engine = Engine(scan(tiny_folder), EngineSettings())
        monkeypatch.setattr(engine, "_kind", kind)
        async with serving(engine, store) as stub:
            listed = await stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT)
            assert listed.engine == f"{kind}/float32"
            assert listed.deterministic_engine.startswith(f"{kind}/float32/16 rows")
            image = (await answers(stub, request(item(seed=77), model="text")))["a"].image
        engine.close()
        assert image.cached == (kind in seen)
        assert seen.setdefault(kind, image.uri) == image.uri
    assert seen["cpu"] != seen["cuda"]
