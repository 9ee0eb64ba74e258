"""A real retriever on a free port, over a store in memory, with the nano CLIP."""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from PIL import Image
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc

from imaging.encode import encode_png
from retriever.settings import RetrieverSettings
from retriever.wiring import create_service
from servicekit.channels import open_channel
from servicekit.operations import wait_for
from servicekit.server import running
from servicekit.storage import MemoryStore, ObjectStore, to_uri
from tests.temporary import own_folder

NANO = Path(__file__).parents[2] / "models" / "nano"
CACHE = own_folder("variegate-retriever-")
SETTINGS = RetrieverSettings(clip=NANO / "clip", device="cpu", shard_size=8, cache=CACHE)


@dataclass(frozen=True)
class Client:
    """Stubs of one running retriever and the store that it works on."""

    retriever: retriever_pb2_grpc.RetrieverServiceStub
    operations: operations_pb2_grpc.OperationsStub
    store: ObjectStore

    async def build(self, index_id: str, pool_uri: str) -> operations_pb2.Operation:
        """Runs CreateIndex to its end."""
        request = pb.CreateIndexRequest(index_id=index_id, pool_uri=pool_uri)
        operation = await self.retriever.CreateIndex(request, timeout=30)
        return await wait_for(self.operations, operation.name, 60, poll_seconds=0.02)

    async def search(self, index_id: str, hit_count: int, *queries: pb.Query) -> list[list[pb.Hit]]:
        """Returns the hits of each query."""
        request = pb.SearchImagesRequest(
            index=f"indexes/{index_id}", queries=queries, hit_count=hit_count
        )
        response = await self.retriever.SearchImages(request, timeout=30)
        return [list(result.hits) for result in response.results]

    async def find(self, index_id: str, hit_count: int, query: pb.Query, **more) -> pb.HitList:
        """Returns the result of one query; `more` are filters and drop."""
        request = pb.SearchImagesRequest(
            index=f"indexes/{index_id}", queries=[query], hit_count=hit_count, **more
        )
        return (await self.retriever.SearchImages(request, timeout=60)).results[0]

    async def screen(
        self, uris: Sequence[str], *, text: str = "", protected: str = "", **policy: float
    ) -> list[pb.Verdict]:
        """Returns the verdicts on images."""
        request = pb.ScreenImagesRequest(
            candidates=[pb.Candidate(image_uri=uri, text=text) for uri in uris],
            protected_manifest_uri=protected,
            policy=pb.ScreeningPolicy(**policy),
        )
        return list((await self.retriever.ScreenImages(request, timeout=60)).verdicts)


@asynccontextmanager
async def serving(
    store: ObjectStore, settings: RetrieverSettings = SETTINGS
) -> AsyncIterator[Client]:
    """Serves a retriever while the block runs."""
    service = create_service(settings, store)
    descriptor = pb.DESCRIPTOR.services_by_name["RetrieverService"]
    async with running(service) as server, open_channel(server.target, descriptor) as channel:
        yield Client(
            retriever_pb2_grpc.RetrieverServiceStub(channel),
            operations_pb2_grpc.OperationsStub(channel),
            store,
        )


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[Client]:
    async with serving(store) as client:
        yield client


@pytest.fixture(scope="session")
def photographs() -> list[bytes]:
    """The JPEG files of 300 photographs of the shipped pool, of all its classes."""
    table = pq.read_table(NANO / "demo" / "pool.parquet", columns=["image"])
    return [row["bytes"] for row in table["image"].take(list(range(0, 300 * 33, 33))).to_pylist()]


def put_image(store: ObjectStore, image: Image.Image | bytes) -> str:
    """Stores an image and returns its URI."""
    data = image if isinstance(image, bytes) else encode_png(image)
    key = f"images/{sha256(data).hexdigest()}.png"
    store.put(key, data)
    return to_uri(key)


def put_table(store: ObjectStore, key: str, columns: dict[str, list[object]] | pa.Table) -> str:
    """Stores a parquet file and returns its URI."""
    buffer = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), buffer)
    store.put(key, buffer.getvalue(), overwrite=True)
    return to_uri(key)


def put_pool(store: ObjectStore, files: Sequence[bytes | None], name: str = "pool") -> str:
    """Stores a pool of image bytes and returns its URI."""
    columns: dict[str, list[object]] = {
        "image": [{"bytes": data, "path": f"{row}.jpg"} for row, data in enumerate(files)],
        "label": [row % 10 for row in range(len(files))],
        "class_name": [f"class {row % 10}" for row in range(len(files))],
        "caption": [f"photograph {row}" for row in range(len(files))],
    }
    return put_table(store, f"pools/{name}.parquet", columns)


def vector_of(embedding: pb.Embedding) -> np.ndarray:
    """Returns the vector of a message."""
    return np.frombuffer(embedding.data, "<f4")
