"""A real trainer learns, a real generator makes images with it, and a row makes one again."""

import pytest
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.settings import GeneratorSettings
from generator.wiring import create_service as create_generator
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import DirectoryStore
from tests.gateway.pictures import write_folder
from tests.gateway.remaking import request_of
from tests.gateway.system import open_system, rows_of
from trainer.settings import TrainerSettings
from trainer.wiring import create_service as create_trainer

SERVICE = pb.DESCRIPTOR.services_by_name["GeneratorService"]


# The two have artefacts of both kinds of texts; the second also changes the model.
@pytest.mark.parametrize(
    "method", ["textual_inversion", pytest.param("imagic", marks=pytest.mark.slow)]
)
async def test_what_was_learned_makes_images_and_a_row_is_enough_to_make_them_again(
    tmp_path, method
):
    state = tmp_path / "state"
    store = DirectoryStore(state / "objects", durable=False)
    trains = TrainerSettings(tmp_path / "scratch", threads=1, device="cpu")
    makes = GeneratorSettings(threads=1, deterministic_rows=2)
    async with (
        running(create_trainer(trains, store)) as trainer,
        running(create_generator(makes, store)) as generator,
        open_channel(
            generator.target, pb.DESCRIPTOR.services_by_name["GeneratorService"]
        ) as channel,
        open_system(state, tmp_path, generator=generator.target, trainer=trainer.target) as system,
    ):
        dataset = await system.import_folder(write_folder(tmp_path / "train"))
        uris = {
            row["item_id"]: row["image_uri"] for row in rows_of(system.store, dataset.manifest_uri)
        }
        asked = await system.start(
            method=method,
            images_per_class=1,
            class_names=["cat"],
            steps=2,
            deterministic=True,
            parameters={"epochs": "1"},
        )
        made = await system.finish(asked, timeout=250)
        [row] = rows_of(system.store, made.result.manifest_uri)
        stub = rpc.GeneratorServiceStub(channel)
        request = await request_of(row, uris, stub)
        [answer] = [one async for one in stub.GenerateImages(request, timeout=60)]
        assert answer.image.sha256 == row["sha256"]
        assert answer.image.model_digest == row["model_digest"]
        del request.artefacts[:]
        del request.items[0].text.artefacts[:]
        [without] = [one async for one in stub.GenerateImages(request, timeout=60)]
        assert without.image.sha256 != row["sha256"], "what was learned shows"
