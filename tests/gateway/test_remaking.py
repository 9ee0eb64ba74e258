"""Every image can be made again from its row in the manifest, whatever the method."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from gateway.methods.base import Composed
from gateway.methods.composition import parts_of
from gateway.methods.registry import all_methods
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import DirectoryStore
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.remaking import request_of
from tests.gateway.system import open_system, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
# What methods learn first is made again in tests/e2e/test_tuned.py.
MAKING = [
    method.id
    for method in all_methods().values()
    if not method.needs.pool and method.needs.tuning is None and not isinstance(method, Composed)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory):
    """A gateway in front of a real generator with the nano models, and its dataset's images."""
    root = tmp_path_factory.mktemp("remaking")
    state = root / "state"
    store = DirectoryStore(state / "objects", durable=False)
    settings = GeneratorSettings(threads=1, deterministic_rows=2)
    async with running(create_service(settings, store)) as server:
        channel = open_channel(server.target, pb.DESCRIPTOR.services_by_name["GeneratorService"])
        async with open_system(state, root, generator=server.target) as system:
            dataset = await system.import_folder(write_folder(root / "train"))
            rows = rows_of(system.store, dataset.manifest_uri)
            system.uris = {row["item_id"]: row["image_uri"] for row in rows}
            system.generator, system.root = rpc.GeneratorServiceStub(channel), root
            yield system
        await channel.close()


async def row_of(system, name, **fields):
    """The one row of an augmentation."""
    fields = {"images_per_class": 1, "class_names": ["cat"], "steps": 2, "seed": 5, **fields}
    made = await system.augment(name.replace("+", "_"), deterministic=True, **fields)
    [row] = rows_of(system.store, made.result.manifest_uri)
    return row


@pytest.mark.parametrize("method", MAKING)
async def test_a_row_of_the_manifest_is_enough_to_make_its_image_again(system, method):
    await check_again(system, await row_of(system, method, method=method))


async def test_so_it_is_with_a_negative_prompt_which_changes_image_and_id(system):
    plain = await row_of(system, "plain", method="simple")
    row = await row_of(system, "negative", method="simple", negative_prompt="a dark picture")
    assert row["item_id"] != plain["item_id"] and row["sha256"] != plain["sha256"]
    await check_again(system, row)


@pytest.mark.parametrize("mix", ["mvc+pretrained", "boomerang:0.5,simple:0.5"])
async def test_so_it_is_with_the_images_of_every_method_of_a_mix(system, mix):
    fields = {"images_per_class": 2, "class_names": ["cat"], "steps": 2, "seed": 5}
    name = mix.translate(str.maketrans("+:.,", "____"))
    made = await system.augment(name, deterministic=True, method=mix, **fields)
    rows = rows_of(system.store, made.result.manifest_uri)
    assert {row["method"] for row in rows} == {part.method.id for part in parts_of(mix, {})}
    for row in rows:
        await check_again(system, row)


async def test_so_it_is_with_images_that_a_choice_kept_and_with_those_that_it_did_not(system):
    fields = {"images_per_class": 1, "class_names": ["cat"], "steps": 2, "method": "simple"}
    choice = {"make_factor": 2, "keep": "clip_score"}
    made = await system.augment("best", deterministic=True, **choice, **fields)
    for uri in (made.result.manifest_uri, made.result.kept.unkept_uri):
        [row] = rows_of(system.store, uri)
        await check_again(system, row)


async def check_again(system, row):
    request = await request_of(row, system.uris, system.generator)
    [answer] = [one async for one in system.generator.GenerateImages(request, timeout=60)]
    assert answer.image.sha256 == row["sha256"] and answer.image.uri != row["image_uri"]
    assert answer.image.model_digest == row["model_digest"]


async def test_a_row_of_a_retrieved_image_names_it_and_its_pool(system):
    pool = write_pool(system.root / "pool.parquet")
    made = await system.augment(
        method="retrieval", images_per_class=1, class_names=["cat"], pool_uri=f"file://{pool}"
    )
    [row] = rows_of(system.store, made.result.manifest_uri)
    lineage = json.loads(row["lineage"])
    assert system.store.exists(lineage["pool_uri"].removeprefix("store:"))
    images = pq.read_table(pool).column("image").to_pylist()
    assert row["sha256"] in {hashlib.sha256(image["bytes"]).hexdigest() for image in images}
