"""The embedded system with its generator's engine in Triton: the same images."""

import json

import pytest
from google.longrunning import operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from embedded.system import EmbeddedSystem
from embedded.triton import ENGINE_KEY, TRACES_KEY
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.channels import open_channel
from servicekit.errors import Precondition
from servicekit.operations import wait_for
from servicekit.server import running
from servicekit.storage import MemoryStore
from tests.collector import collecting
from tests.e2e.conftest import up

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


async def make_one_image(target, photographs):
    """Has the gateway make an image."""
    async with open_channel(target) as channel:
        gateway = gateway_pb2_grpc.GatewayServiceStub(channel)
        operations = operations_pb2_grpc.OperationsStub(channel)
        source = gateway_pb2.DatasetSource(train_uri=(photographs / "train").as_uri())
        imported = gateway_pb2.ImportDatasetRequest(dataset_id="photos", source=source)
        wanted = gateway_pb2.CreateAugmentationRequest(
            parent="datasets/photos",
            augmentation_id="one",
            augmentation=gateway_pb2.Augmentation(
                method="simple", images_per_class=1, class_names=["dog"], steps=2
            ),
        )
        started = await gateway.ImportDataset(imported, timeout=30)
        await wait_for(operations, started.name, 60)
        started = await gateway.CreateAugmentation(wanted, timeout=30)
        assert not (await wait_for(operations, started.name, 120)).HasField("error")


@pytest.mark.servers
@pytest.mark.heavy
async def test_the_system_on_triton_makes_the_same_images_and_its_traces_end_in_triton(
    variegate, photographs, monkeypatch
):
    state = variegate.folder / ".variegate"
    monkeypatch.setenv(ENGINE_KEY, "triton")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with collecting() as collector:
        monkeypatch.setenv("SERVER_TRACE_ENDPOINT", collector.url)
        monkeypatch.setenv(TRACES_KEY, collector.http_url)
        with up(variegate):
            targets = json.loads((state / "system.json").read_text())["targets"]
            await make_one_image(targets["gateway"], photographs)
            on_triton = await images_of(targets["generator"])
    assert "successfully loaded 'diffusion'" in (state / "triton" / "triton.log").read_text()
    monkeypatch.undo()
    async with running(create_service(GeneratorSettings(), MemoryStore())) as server:
        in_process = await images_of(server.target)
    digests = {number: image.sha256 for number, image in on_triton.items()}
    assert len(digests) == 5 and all(digests.values())
    assert digests == {number: image.sha256 for number, image in in_process.items()}
    # Triton may run on another kind of device, so a store that both use keeps them apart.
    assert not {i.uri for i in on_triton.values()} & {i.uri for i in in_process.values()}
    check_whole_trace(collector.spans)


def check_whole_trace(spans):
    """Checks that the shard of the augmentation is one trace, from the gateway into Triton."""
    (shard,) = [span for _, span in spans if span.name == "shard"]
    trace = {span.span_id: (who, span) for who, span in spans if span.trace_id == shard.trace_id}
    computed = [span for who, span in trace.values() if who == "triton" and span.name == "compute"]
    assert len(computed) == 1
    names, span = [], computed[0]
    while span is not shard:
        names.append(span.name.rpartition("/")[2])
        span = trace[span.parent_span_id][1]
    made = "GenerateImages"
    # Of the caller and of the server.
    assert names == ["compute", "diffusion", "InferRequest", made, made]
    # Nobody asked for the probes, or for what is not in a trace.
    roots = {span.trace_id for who, span in spans if who != "triton"}
    assert all(span.trace_id in roots for who, span in spans if who == "triton")


async def test_an_unknown_engine_is_told_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.setenv(ENGINE_KEY, "tensorrt")
    with pytest.raises(Precondition, match="'tensorrt'; use embedded or triton"):
        async with EmbeddedSystem(tmp_path / "state"):
            pass
