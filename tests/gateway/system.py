"""A gateway in front of the doubles, on real channels, with its own state folder."""

import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pyarrow.parquet as pq
from google.longrunning import operations_pb2_grpc
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.gateway.v1 import gateway_pb2_grpc as rpc

from gateway.durable.database import sqlite_url
from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.channels import open_channel
from servicekit.operations import wait_for
from servicekit.server import Service, running
from servicekit.storage import DirectoryStore, to_key
from tests.gateway import doubles

FIVE = ("captioner", "prompter", "generator", "retriever", "trainer")


@dataclass
class System:
    """A running gateway and its doubles."""

    stub: rpc.GatewayServiceStub
    operations: operations_pb2_grpc.OperationsStub
    store: DirectoryStore
    trouble: doubles.Trouble
    doubles: dict
    settings: GatewaySettings
    target: str = field(default="", kw_only=True)

    async def finish(self, operation, timeout=150):
        """Waits for an operation; returns its unpacked response, or the operation if it failed."""
        done = await wait_for(self.operations, operation.name, timeout, poll_seconds=0.05)
        if done.HasField("error"):
            return done
        for kind in (pb.Dataset, pb.Augmentation, pb.Study):
            if done.response.Is(kind.DESCRIPTOR):
                message = kind()
                done.response.Unpack(message)
                return message
        raise AssertionError(done)

    async def import_folder(
        self, folder, test=None, dataset_id="pets", display_names=None, **source
    ):
        source = pb.DatasetSource(
            train_uri=f"file://{folder}", display_names=display_names or {}, **source
        )
        if test:
            source.test_uri = f"file://{test}"
        request = pb.ImportDatasetRequest(dataset_id=dataset_id, source=source)
        return await self.finish(await self.stub.ImportDataset(request, timeout=10))

    async def start(self, augmentation_id="a1", parent="datasets/pets", **fields):
        augmentation = pb.Augmentation(**{"method": "mvc", "images_per_class": 3, **fields})
        request = pb.CreateAugmentationRequest(
            parent=parent, augmentation_id=augmentation_id, augmentation=augmentation
        )
        return await self.stub.CreateAugmentation(request, timeout=60)

    async def augment(self, augmentation_id="a1", parent="datasets/pets", **fields):
        return await self.finish(await self.start(augmentation_id, parent, **fields))


async def _nothing():
    pass


@asynccontextmanager
async def open_system(state, *roots, trouble=None, wrap=lambda store: store, **settings):
    """Runs the doubles and a gateway whose state is in `state`. `wrap` may spoil its store."""
    store = wrap(DirectoryStore(state / "objects", durable=False))
    trouble = trouble or doubles.Trouble()
    made = {}
    five = Service(
        "doubles",
        (),
        lambda server: made.update(doubles.add_to(server, store, trouble)),
        _nothing,
        _nothing,
    )
    async with running(five) as others:
        values = GatewaySettings(
            **{
                **dict.fromkeys(FIVE, others.target),
                "import_roots": tuple(map(str, roots)),
                "database_url": sqlite_url(state / "gateway.sqlite"),
                "shard_size": 4,
                "patience_seconds": 5.0,
                **settings,
            }
        )
        async with running(create_service(values, store)) as gateway:
            channel = open_channel(gateway.target, pb.DESCRIPTOR.services_by_name["GatewayService"])
            yield System(
                rpc.GatewayServiceStub(channel),
                operations_pb2_grpc.OperationsStub(channel),
                store,
                trouble,
                made,
                values,
                target=gateway.target,
            )
            await channel.close()


def rows_of(store, uri):
    """Returns the rows of a parquet file in the store."""
    return pq.read_table(io.BytesIO(store.get(to_key(uri)))).to_pylist()
