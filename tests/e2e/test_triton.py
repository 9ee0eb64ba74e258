"""The embedded system with its generator's engine in Triton: the same images."""

import pytest
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from embedded.system import EmbeddedSystem
from embedded.triton import ENGINE_KEY
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.channels import open_channel
from servicekit.errors import Precondition
from servicekit.server import running
from servicekit.storage import MemoryStore

WANTED = pb.GenerateImagesRequest(
    model="text",
    sampling=pb.SamplingParameters(steps=8, deterministic=True),
    items=[
        pb.Item(item_id=str(n), seed=n, text=pb.TextCondition(prompt="a photo of a dog"))
        for n in range(5)
    ],
)


async def images_of(target):
    async with open_channel(target) as channel:
        call = rpc.GeneratorServiceStub(channel).GenerateImages(WANTED, timeout=120)
        return {answer.item_id: answer.image async for answer in call}


@pytest.mark.servers
@pytest.mark.alone
async def test_the_system_on_triton_makes_the_same_images(tmp_path, monkeypatch):
    monkeypatch.setenv(ENGINE_KEY, "triton")
    async with EmbeddedSystem(tmp_path / "state") as system:
        on_triton = await images_of(system.targets["generator"])
        log = tmp_path / "state" / "triton" / "triton.log"
        assert "successfully loaded 'diffusion'" in log.read_text()
    async with running(create_service(GeneratorSettings(), MemoryStore())) as server:
        in_process = await images_of(server.target)
    digests = {number: image.sha256 for number, image in on_triton.items()}
    assert len(digests) == 5 and all(digests.values())
    assert digests == {number: image.sha256 for number, image in in_process.items()}
    # Triton may run on another kind of device, so a store that both use keeps them apart.
    assert not {i.uri for i in on_triton.values()} & {i.uri for i in in_process.values()}


async def test_an_unknown_engine_is_told_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.setenv(ENGINE_KEY, "tensorrt")
    with pytest.raises(Precondition, match="'tensorrt'; use embedded or triton"):
        async with EmbeddedSystem(tmp_path / "state"):
            pass
