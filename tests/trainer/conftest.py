"""A small real dataset in a directory store, and a trainer's server on port 0."""

import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from google.longrunning import operations_pb2_grpc
from variegate.trainer.v1 import trainer_pb2 as pb
from variegate.trainer.v1 import trainer_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.operations import wait_for
from servicekit.server import running
from servicekit.storage import DirectoryStore, ObjectStore, to_uri
from trainer.runs import RunSpec
from trainer.settings import TrainerSettings
from trainer.wiring import create_service

DEMO = Path("models/nano/demo")
CLASSES = ("airplane", "frog", "truck")
DATASET = "store:datasets/small/manifest.parquet"
# Images of a plain colour.
TRAIN, TEST = 18, 9
SYNTHETIC = "store:augmentations/small/manifest.parquet"


@dataclass
class Photos:
    """The first demo photographs of three classes, as manifest rows with their files."""

    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    pool: list[dict[str, Any]]
    files: dict[str, bytes]


def _rows(part: str, per_class: int, files: dict[str, bytes]) -> list[dict[str, Any]]:
    table = pq.read_table(DEMO / f"{part}.parquet").to_pylist()
    rows = []
    for label, class_name in enumerate(CLASSES):
        chosen = [row for row in table if row["class_name"] == class_name][:per_class]
        for number, row in enumerate(chosen):
            data = row["image"]["bytes"]
            digest = hashlib.sha256(data).hexdigest()
            key = f"images/{digest[:2]}/{digest}.jpg"
            files[key] = data
            rows.append(
                {
                    "item_id": f"{part}-{class_name}-{number}",
                    "image_uri": to_uri(key),
                    "label": label,
                    "class_name": class_name,
                    "sha256": digest,
                }
            )
    return rows


@pytest.fixture(scope="session")
def photos() -> Photos:
    files: dict[str, bytes] = {}
    train = [row | {"split": "train"} for row in _rows("target", 8, files)]
    test = [row | {"split": "test"} for row in _rows("test", 10, files)]
    pool = _rows("pool", 12, files)
    parents = {row["class_name"]: row["item_id"] for row in reversed(train)}
    for row in pool:
        row |= {"source": "generated", "parents": [parents[row["class_name"]]]}
    return Photos(train, test, pool, files)


def put_manifest(store: ObjectStore, uri: str, rows: list[dict[str, Any]]) -> str:
    """Writes a manifest and returns its URI."""
    buffer = io.BytesIO()
    schema = None
    if rows and "parents" in rows[0]:
        fields = {name: pa.string() for name in rows[0]}
        fields |= {"label": pa.int32(), "parents": pa.list_(pa.string())}
        schema = pa.schema(list(fields.items()))
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    store.put(uri.removeprefix("store:"), buffer.getvalue(), overwrite=True)
    return uri


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, photos: Photos) -> ObjectStore:
    store = DirectoryStore(tmp_path_factory.mktemp("store"), durable=False)
    for key, data in photos.files.items():
        store.put(key, data)
    put_manifest(store, DATASET, photos.train + photos.test)
    put_manifest(store, SYNTHETIC, photos.pool)
    return store


@dataclass
class Client:
    """Stubs of a running trainer, and the shortest way through a run."""

    trainer: Any
    operations: Any

    async def create(self, run_id: str, **run: Any) -> Any:
        values = {"manifest_uri": DATASET, "step_count": 6, "batch_size": 8} | run
        request = pb.CreateTrainingRunRequest(
            training_run_id=run_id, training_run=pb.TrainingRun(**values)
        )
        return await self.trainer.CreateTrainingRun(request, timeout=30)

    async def plan(self, planned_image_count: int = 0, **run: Any) -> pb.PlanTrainingRunResponse:
        request = pb.PlanTrainingRunRequest(
            training_run=pb.TrainingRun(**{"manifest_uri": DATASET} | run),
            planned_image_count=planned_image_count,
        )
        return await self.trainer.PlanTrainingRun(request, timeout=30)

    async def finish(self, run_id: str, **run: Any) -> Any:
        operation = await self.create(run_id, **run)
        return await wait_for(self.operations, operation.name, timeout=250, poll_seconds=0.05)

    async def train(self, run_id: str, **run: Any) -> pb.TrainingRun:
        operation = await self.finish(run_id, **run)
        assert not operation.HasField("error"), operation.error.message
        trained = pb.TrainingRun()
        assert operation.response.Unpack(trained)
        return trained


def settings(scratch: Path, **values: Any) -> TrainerSettings:
    """Settings that checkpoint at every report."""
    return TrainerSettings(scratch, **{"threads": 1, "checkpoint_seconds": 0.0} | values)


@asynccontextmanager
async def connect(settings: TrainerSettings, store: ObjectStore) -> AsyncIterator[Client]:
    async with running(create_service(settings, store)) as server:
        service = pb.DESCRIPTOR.services_by_name["TrainerService"]
        async with open_channel(server.target, service) as channel:
            yield Client(
                rpc.TrainerServiceStub(channel), operations_pb2_grpc.OperationsStub(channel)
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    tmp_path_factory: pytest.TempPathFactory, store: ObjectStore
) -> AsyncIterator[Client]:
    """One server and one warm worker for all tests of a module: loading torch is slow."""
    async with connect(settings(tmp_path_factory.mktemp("scratch")), store) as client:
        yield client


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A run on images of three plain colours."""
    draw = np.random.default_rng(0)
    labels = np.arange(2 * TRAIN + TEST) % 3
    images = draw.integers(0, 90, (len(labels), 16, 16, 3), np.uint8)
    images[np.arange(len(labels)), :, :, labels] += 120
    np.save(tmp_path / "real.npy", images[: TRAIN + TEST])
    np.save(tmp_path / "synthetic.npy", images[TRAIN + TEST :])
    np.savez(
        tmp_path / "rows.npz",
        real_path=str(tmp_path / "real.npy"),
        synthetic_path=str(tmp_path / "synthetic.npy"),
        train_rows=np.arange(TRAIN),
        test_rows=np.arange(TRAIN, TRAIN + TEST),
        synthetic_rows=np.arange(TRAIN),
        train_labels=np.concatenate([labels[:TRAIN], labels[TRAIN + TEST :]]),
        test_labels=labels[TRAIN : TRAIN + TEST],
        keys=np.arange(2 * TRAIN, dtype=np.uint64),
    )
    return RunSpec(
        folder=str(tmp_path),
        data_digest="colours",
        class_names=("red", "green", "blue"),
        strategy="combined",
        policy="standard",
        classifier="cnn4",
        step_count=24,
        batch_size=8,
        learning_rate=0.01,
        seed=2**64 - 1,
        image_size=16,
        threads=1,
        checkpoint_seconds=1e9,
    )
