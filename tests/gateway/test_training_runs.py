"""Studies before the real trainer: cancelled, interrupted, and when the trainer is replaced."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from tests_ports import free_port
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.trainer.v1 import trainer_pb2

from servicekit.channels import open_channel
from servicekit.server import running
from servicekit.storage import DirectoryStore
from tests.gateway.pictures import write_folder
from tests.gateway.system import open_system
from trainer.settings import TrainerSettings
from trainer.wiring import create_service

pytestmark = pytest.mark.slow

LONG, CANCELLED = 40_000, 1


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", count=2, tag="test")
    return tmp_path


@asynccontextmanager
async def open_trainer(root, address="127.0.0.1:0"):
    settings = TrainerSettings(scratch=root / "scratch", threads=1)
    store = DirectoryStore(root / "state" / "objects", durable=False)
    async with running(create_service(settings, store), address) as server:
        service = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"]
        channel = open_channel(server.target, service)
        yield server.target, operations_pb2_grpc.OperationsStub(channel)
        await channel.close()


async def begin(system, root, step_count):
    await system.import_folder(root / "train", root / "test")
    study = pb.Study(dataset="datasets/pets", images_per_class=2, seeds=[1])
    study.arms.add(method="simple")
    study.training.step_count, study.training.batch_size = step_count, 8
    return await system.stub.CreateStudy(
        pb.CreateStudyRequest(study_id="s1", study=study), timeout=10
    )


async def runs_of(operations):
    answer = await operations.ListOperations(operations_pb2.ListOperationsRequest(), timeout=10)
    return answer.operations


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


async def trains(operations):
    """Says whether a run has made its first steps."""
    progress = trainer_pb2.CreateTrainingRunMetadata()
    runs = await runs_of(operations)
    return any(run.metadata.Unpack(progress) and progress.done_step_count for run in runs)


async def test_cancelling_a_study_cancels_its_training_runs(root):
    async with (
        open_trainer(root) as (target, operations),
        open_system(root / "state", root, trainer=target) as system,
    ):
        study = await begin(system, root, LONG)
        await until(lambda: trains(operations))
        request = operations_pb2.CancelOperationRequest(name=study.name)
        await system.operations.CancelOperation(request, timeout=20)
        ended = await system.finish(study)
        assert ended.error.code == CANCELLED

        async def all_cancelled():
            runs = await runs_of(operations)
            return all(run.done and run.error.code == CANCELLED for run in runs)

        await until(all_cancelled, 20)


async def test_a_gateway_that_ends_leaves_its_training_runs_running(root):
    async with open_trainer(root) as (target, operations):
        async with open_system(root / "state", root, trainer=target) as system:
            await begin(system, root, LONG)
            await until(lambda: trains(operations))
        [run] = await runs_of(operations)
        assert not run.done


async def test_a_study_goes_on_when_its_trainer_is_started_again(root):
    address = f"127.0.0.1:{free_port()}"
    patience = {"trainer": address, "patience_seconds": 30.0}
    async with open_system(root / "state", root, **patience) as system:
        async with open_trainer(root, address) as (_, operations):
            study = await begin(system, root, 200)
            await until(lambda: trains(operations))
        async with open_trainer(root, address) as (_, operations):
            finished = await system.finish(study)
            assert len(await runs_of(operations)) == 2
    assert [row.method for row in finished.result.rows] == ["baseline", "simple"]
