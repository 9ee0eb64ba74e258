"""A pool under a prefix of a real S3 server, and its index served by another process's cache."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.storage.s3 import S3Store
from tests.retriever.conftest import SETTINGS, put_image, serving
from tests.retriever.test_create_index import index_of
from tests.retriever.test_pools import put_tar
from tests.seaweed import Seaweed

pytestmark = pytest.mark.servers


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Store]:
    (tmp_path / "s3").mkdir()
    server = Seaweed(tmp_path / "s3")
    server.start()
    yield server.store()
    server.kill()


async def test_shards_of_a_prefix_become_an_index_that_a_fresh_process_maps_from_its_cache(
    s3: S3Store, tmp_path: Path, photographs: list[bytes]
):
    for number in range(2):
        images = photographs[30 * number : 30 * number + 30]
        put_tar(s3, f"web/{number:05d}.tar", images, first=30 * number)
    query = pb.Query(image_uri=put_image(s3, photographs[41]))
    settings = replace(SETTINGS, flat_limit=10)
    async with serving(s3, replace(settings, cache=tmp_path / "builder")) as client:
        index = index_of(await client.build("web", "store:web/"))
        built = await client.find("web", 5, query)
    assert (index.image_count, index.kind) == (60, "IVF-PQ")
    async with serving(s3, replace(settings, cache=tmp_path / "fresh")) as client:
        assert await client.find("web", 5, query) == built
    assert built.hits[0].caption == "picture 41"
    (folder,) = (tmp_path / "fresh").iterdir()
    assert (folder / "vectors.f32").stat().st_size == 60 * index.dimension * 4
