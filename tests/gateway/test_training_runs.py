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

slow = pytest.mark.slow

# Progress is told every fiftieth part of these, and looked at ten times a second.
LONG, STEPS, CANCELLED = 8_000, 500, 1


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", count=2, tag="test")
    return tmp_path


@asynccontextmanager
async def open_trainer(root, address="127.0.0.1:0", **values):
    settings = TrainerSettings(scratch=root / "scratch", threads=1, **values)
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
    answer = await operations.ListOperations(operations_pb2.ListOperationsRequest(), timeout=60)
    return answer.operations


async def until(condition, seconds=200):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


async def trains(operations):
    """Says whether a run has made its first steps."""
    progress = trainer_pb2.CreateTrainingRunMetadata()
    runs = await runs_of(operations)
    return any(run.metadata.Unpack(progress) and progress.done_step_count for run in runs)


@slow
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


@slow
async def test_a_study_shows_the_pace_of_training_and_its_next_plan_knows_it(root):
    async with (
        open_trainer(root) as (target, _),
        open_system(root / "state", root, trainer=target) as system,
    ):
        operation = await begin(system, root, STEPS)
        shown = []

        async def is_done():
            request = operations_pb2.GetOperationRequest(name=operation.name)
            answer = await system.operations.GetOperation(request, timeout=10)
            progress = pb.OperationProgress()
            answer.metadata.Unpack(progress)
            shown.append(progress)
            return answer.done

        await until(is_done, 120)
        study = await system.finish(operation)
        study.images_per_class = 3
        plan = await system.stub.PlanStudy(pb.PlanStudyRequest(study=study), timeout=10)
    steps = [one for one in shown if one.stage == "train" and one.done_count]
    assert any(one.rate > 0 and one.part == "1 of 2 classifiers" for one in steps)
    assert {(one.unit, one.total_count) for one in steps} == {("steps", 2 * STEPS)}
    assert plan.measured_image_count == 2 * STEPS * 8
    assert plan.images_per_second > 0


@slow
async def test_a_gateway_that_ends_leaves_its_training_runs_running(root):
    async with open_trainer(root) as (target, operations):
        async with open_system(root / "state", root, trainer=target) as system:
            await begin(system, root, LONG)
            await until(lambda: trains(operations))
        [run] = await runs_of(operations)
        assert not run.done


@slow
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


def wanted(strategy="", images_per_class=100, **training):
    study = pb.Study(dataset="datasets/pets", images_per_class=images_per_class, seeds=[1, 2])
    study.arms.add(method="simple")
    study.arms.add(method="mvc", strategy=strategy)
    study.training.MergeFrom(pb.TrainingRecipe(**training))
    return study


@asynccontextmanager
async def small_cache(root):
    """A system whose trainer has room for 2 MB of decoded images."""
    async with (
        open_trainer(root, cache_gigabytes=0.002) as (target, _),
        open_system(root / "state", root, trainer=target) as system,
    ):
        await system.import_folder(root / "train", root / "test")
        yield system


@pytest.mark.parametrize(
    ("study", "field", "words"),
    [
        (wanted(image_size=64), "", "0.01 GB, and the trainer's cache holds 0.002 GB"),
        (wanted("half"), "study.arms[1].strategy", "aux_bn, combined, half_half, real, rsp"),
        (wanted("real"), "study.arms[1].strategy", "uses no synthetic images"),
        (
            wanted(policy="hard"),
            "study.training.policy",
            "known are autoaugment, cutmix",
        ),
        (
            wanted(classifier="vgg"),
            "study.training.classifier",
            "known are cnn4, efficientnet_b0",
        ),
        (wanted(batch_size=1), "study.training.batch_size", "2 to 4096"),
        (wanted(node_count=2), "", "trains each run in one process of its own"),
        (wanted(gpus_per_node=1), "", "trains each run in one process of its own"),
        (wanted(node_count=3), "study.training.batch_size", "use a multiple of 3"),
        (
            wanted(classifier="resnet50", image_size=32),
            "study.training.image_size",
            "takes 64 to 1024",
        ),
    ],
)
async def test_what_no_trainer_could_train_is_refused_before_an_image_is_made(
    root, fails, study, field, words
):
    async with small_cache(root) as system:
        create = pb.CreateStudyRequest(study_id="s1", study=study)
        errors = [
            await fails(system.stub.CreateStudy(create, timeout=10)),
            await fails(system.stub.PlanStudy(pb.PlanStudyRequest(study=study), timeout=10)),
        ]
        assert not system.trouble.calls
        assert not list(system.store.list("studies/"))
    for error in errors:
        assert words in error.message
        assert getattr(error, "field", "") == field


async def test_images_that_fit_are_planned_with_the_defaults_of_the_trainer(root):
    async with small_cache(root) as system:
        request = pb.PlanStudyRequest(study=wanted(image_size=16))
        plan = await system.stub.PlanStudy(request, timeout=10)
    assert plan.training_run_count == 2 * 3
    assert (plan.training.classifier, plan.training.batch_size) == ("cnn4", 64)
    assert plan.images_per_second == 0
