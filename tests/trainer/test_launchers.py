"""What every launcher keeps to, wherever its runs train."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from servicekit.errors import Precondition, ServiceError
from servicekit.storage import ObjectStore
from tests.trainer.launching import (
    Follower,
    KubernetesPlace,
    Place,
    SubprocessPlace,
    admitted,
    named,
)
from trainer.history import RunHistory
from trainer.launchers.base import Launcher, OnReport
from trainer.runs import RunRequest, RunResult

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Long enough to be disturbed on the way; it is never waited for.
LONG = {"step_count": 100_000}
# Where a run keeps its files is not what came out of it.
URIS = dict.fromkeys(("weights_uri", "card_uri", "metrics_uri", "predictions_uri"), "")


PLACES = {"subprocess": SubprocessPlace, "kubernetes": KubernetesPlace}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PLACES)
async def place(
    request: pytest.FixtureRequest, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    place = PLACES[request.param](store, tmp_path_factory.mktemp(request.param))
    await place.open()
    yield place
    await place.close()
    for key in list(store.list("trainingRuns/")):  # The next place shall not find them.
        store.delete(key)


async def finished(
    launcher: Launcher, run_id: str, request: RunRequest, on_report: OnReport
) -> RunResult:
    """Follows a run to its end, starting it again where it does not go on by itself."""
    while True:
        await launcher.start(named(run_id), request)
        try:
            return await launcher.follow(named(run_id), on_report)
        except ServiceError as error:
            if error.reason != "WORKER_KILLED":
                raise


def kept(store: ObjectStore, run_id: str, name: str) -> bytes:
    return store.get(f"trainingRuns/{run_id}/{name}")


async def test_a_run_reports_every_step_in_order_and_ends_with_all_that_it_made(place, store):
    request, launcher = admitted(store, "calm"), place.launcher()
    follower = Follower(launcher, "calm", request)
    result = await follower.task
    assert [report.step for report in follower.reports] == list(range(1, 51))
    assert {*follower.reports[0].values} == {"loss", "train_accuracy", "learning_rate"}
    # Of a run in a pod that ended between two looks, only what is kept is told, which is no pace.
    if isinstance(place, SubprocessPlace):
        assert any(report.images_per_second > 0 for report in follower.reports)
    assert result == RunHistory(store).result(named("calm"))
    assert result.test_image_count == 30 and result.seconds > 0
    for uri in (result.weights_uri, result.card_uri, result.metrics_uri, result.predictions_uri):
        assert store.get(uri.removeprefix("store:"))
    assert len(RunHistory(store).metrics(named("calm"))) == 50
    await launcher.close()


async def test_a_run_that_loses_its_worker_goes_on_from_its_checkpoint(place, store):
    """It ends with the very weights of the run that nothing happened to."""
    request, launcher = admitted(store, "lost"), place.launcher()
    follower = Follower(launcher, "lost", request)
    key = "trainingRuns/lost/checkpoint.safetensors"
    await follower.until(lambda: store.exists(key))
    for worker in place.workers():
        worker.kill()
    try:
        result = await follower.task
    except ServiceError as error:
        assert not place.goes_on and error.reason == "WORKER_KILLED"
        result = await finished(launcher, "lost", request, lambda report: None)
    calm = RunHistory(store).result(named("calm"))
    assert replace(result, seconds=0.0, **URIS) == replace(calm, seconds=0.0, **URIS)
    for name in ("weights.safetensors", "metrics.jsonl", "predictions.parquet"):
        assert kept(store, "lost", name) == kept(store, "calm", name)
    assert not store.exists(key)
    await launcher.close()


async def test_a_run_is_found_again_by_the_launcher_of_a_restarted_trainer(place, store):
    request, launcher = admitted(store, "again"), place.launcher()
    follower = Follower(launcher, "again", request)
    await follower.until(lambda: len(follower.reports) > 5)
    follower.task.cancel()
    await asyncio.wait({follower.task})
    await launcher.close()
    launcher, steps = place.launcher(), []
    assert (named("again") in await launcher.found()) == place.goes_on
    result = await finished(launcher, "again", request, lambda report: steps.append(report.step))
    assert steps == sorted(steps) and steps[-1] == 50
    assert result.test_image_count == 30
    assert kept(store, "again", "weights.safetensors") == kept(store, "calm", "weights.safetensors")
    await launcher.close()


async def test_a_cancelled_run_leaves_nothing_that_writes_and_can_be_started_again(place, store):
    request, launcher = admitted(store, "stopped", **LONG), place.launcher()
    follower = Follower(launcher, "stopped", request)
    key = "trainingRuns/stopped/checkpoint.safetensors"
    await follower.until(lambda: store.exists(key))
    follower.task.cancel()
    await asyncio.wait({follower.task})
    assert place.workers(), "to stop following is not to stop the run"
    await launcher.cancel(named("stopped"))
    assert not place.workers() and not await place.left("stopped")
    version = store.version(key)
    again = Follower(launcher, "stopped", request)
    await again.until(lambda: store.version(key) != version)
    again.task.cancel()
    await launcher.cancel(named("stopped"))
    await launcher.cancel(named("stopped"))  # It is gone, which is all that was wanted.
    await launcher.close()


async def test_a_run_that_fails_for_good_says_what_its_worker_said(place, store):
    request, launcher = admitted(store, "wild", learning_rate=1e38), place.launcher()
    follower = Follower(launcher, "wild", request)
    with pytest.raises(Precondition, match=r"not finite at step .*below 1e\+38") as caught:
        await follower.task
    assert caught.value.reason == "LOSS_NOT_FINITE"
    assert caught.value.subject == "training_run.learning_rate"
    assert not place.workers() or not place.goes_on
    with pytest.raises(Precondition, match="not finite"):  # It is tried anew when asked for again.
        await Follower(launcher, "wild", request).task
    await launcher.close()


async def test_images_that_no_run_may_have_are_refused_by_the_one_who_decodes_them(place, store):
    request = admitted(store, "leaky", train_item_ids=("test-frog-0",))
    launcher = place.launcher()
    with pytest.raises(Precondition, match="test-frog-0") as caught:
        await Follower(launcher, "leaky", request).task
    assert caught.value.reason == "TEST_IMAGE_IN_TRAINING"
    await launcher.close()
