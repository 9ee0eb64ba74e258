"""What only a cluster does to a run, and what the launcher makes of it."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy

import pytest
import pytest_asyncio
from google.longrunning import operations_pb2

from servicekit.errors import Precondition
from servicekit.operations import wait_for
from servicekit.storage import ObjectStore
from tests.k8s.rendered import pod
from tests.trainer.conftest import connect, settings
from tests.trainer.launching import Follower, KubernetesPlace, admitted, named
from trainer.launchers.kubernetes.manifests import name_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KubernetesPlace]:
    place = KubernetesPlace(store, tmp_path_factory.mktemp("kubernetes"))
    await place.open()
    yield place
    await place.close()


@pytest.fixture
def cluster(place):
    """The cluster, whose template, rights and pods are as before after the test."""
    kept = deepcopy((place.cluster.template, place.cluster.rules, place.cluster.pod_environ))
    yield place.cluster
    place.cluster.template, place.cluster.rules, place.cluster.pod_environ = kept


async def test_a_run_outlives_its_node_new_tokens_and_an_api_server_that_is_away(
    place, cluster, store
):
    job = cluster.template["spec"]["jobTemplate"]["spec"]
    job |= {"backoffLimitPerIndex": 0, "ttlSecondsAfterFinished": 0}
    launcher, request = place.launcher(), admitted(store, "tossed")
    follower, name = Follower(launcher, "tossed", request), name_of(named("tossed"))
    await follower.until(lambda: len(follower.reports) > 5)
    [service] = cluster.services.values()
    assert service["metadata"]["ownerReferences"][0]["uid"] == cluster.jobs[name]["metadata"]["uid"]
    cluster.is_down = True
    [lost] = cluster.pods_of(name)
    lost.evict()
    await asyncio.sleep(0.5)
    cluster.change_token()
    cluster.is_down = False
    result = await follower.task
    assert result.test_image_count == 30
    assert [report.step for report in follower.reports] == list(range(1, 51))
    async with asyncio.timeout(10):
        while cluster.jobs or cluster.services:
            await asyncio.sleep(0.02)
    assert cluster.asked["create jobs"] == 1
    kept = {key.split("/")[-1] for key in store.list("trainingRuns/tossed/")}
    assert not kept & {"reports.jsonl", "interruption.pb", "failure.pb", "checkpoint.safetensors"}
    await launcher.close()


async def test_two_pods_train_one_run_and_neither_loss_changes_what_comes_of_it(
    place, cluster, store
):
    launcher, request = place.launcher(), admitted(store, "pair", node_count=2, step_count=20)
    launcher.check(request, {})
    follower, name = Follower(launcher, "pair", request), name_of(named("pair"))
    result = await follower.task
    assert [report.step for report in follower.reports] == list(range(1, 21))
    assert result.test_image_count == 30
    spec = cluster.jobs[name]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (2, 2, "Indexed")
    assert spec["template"]["spec"]["subdomain"] == name and name in cluster.services
    await completed(cluster, name)

    cluster.template["spec"]["jobTemplate"]["spec"]["backoffLimitPerIndex"] = 0
    request = admitted(store, "torn", node_count=2, step_count=20)
    follower, name = Follower(launcher, "torn", request), name_of(named("torn"))
    await follower.until(lambda: store.exists("trainingRuns/torn/checkpoint.safetensors"))
    first, second = cluster.pods_of(name)
    second.evict()
    # By now it has tested, and what came of it is not in the store yet: the first waits for it, or
    # has it.
    await follower.until(lambda: any(cluster.folder.glob(f"{name}-*/**/weights.safetensors")))
    first.evict()
    await follower.task
    for kept in ("weights.safetensors", "metrics.jsonl", "predictions.parquet"):
        pair, torn = (store.get(f"trainingRuns/{run}/{kept}") for run in ("pair", "torn"))
        assert pair == torn, kept
    await completed(cluster, name)
    assert len(cluster.pods_of(name)) == 4, "none but the lost ones was replaced"
    await launcher.close()


async def completed(cluster, name):
    """Waits for the end of a Job whose run has its result."""
    await until(lambda: cluster.jobs[name]["status"].get("conditions"))
    [end] = cluster.jobs[name]["status"]["conditions"]
    assert end["type"] == "Complete", [pod.log.read_text() for pod in cluster.pods_of(name)]


async def test_an_operation_goes_on_in_a_restarted_trainer_without_being_asked_for_again(
    place, cluster, store, tmp_path, monkeypatch
):
    monkeypatch.setattr("trainer.wiring.open_launcher", lambda *given: place.launcher())
    async with connect(settings(tmp_path), store) as client:
        operation = await client.create("kept", step_count=100_000)
        await until(lambda: store.exists("trainingRuns/kept/checkpoint.safetensors"))
    assert place.workers(), "the run went on without its trainer"
    made = cluster.asked["create jobs"]
    async with connect(settings(tmp_path), store) as client:
        request = operations_pb2.CancelOperationRequest(name=operation.name)
        await client.operations.CancelOperation(request, timeout=60)
        stopped = await wait_for(client.operations, operation.name, timeout=60)
        assert stopped.error.message == "cancelled"
        assert not await place.left("kept") and not place.workers()
    assert cluster.asked["create jobs"] == made


async def until(is_so):
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_a_job_that_somebody_deletes_ends_the_run_with_a_sentence_that_says_so(
    place, cluster, store
):
    launcher, request = place.launcher(), admitted(store, "deleted")
    follower, name = Follower(launcher, "deleted", request), name_of(named("deleted"))
    await until(lambda: cluster.pods_of(name))
    await cluster._gone(name)
    with pytest.raises(Precondition, match=f"somebody deleted the Job {name}") as caught:
        await follower.task
    assert caught.value.reason == "JOB_DELETED"
    await launcher.close()


async def test_pods_that_cannot_reach_the_store_are_quoted(place, cluster, store):
    cluster.pod_environ["SERVER_STORE"] = "nowhere:"
    launcher, request = place.launcher(), admitted(store, "lonely")
    with pytest.raises(Exception, match="'nowhere:' is not a store") as caught:
        await Follower(launcher, "lonely", request).task
    assert f"kubectl logs job/{name_of(named('lonely'))}" in str(caught.value)
    await launcher.close()


@pytest.mark.parametrize(
    ("verb", "kind"), [("create", "jobs"), ("create", "services"), ("get", "cronjobs")]
)
async def test_a_right_that_is_missing_is_named(place, cluster, store, verb, kind):
    for rule in cluster.rules:
        if kind in rule["resources"]:
            rule["verbs"].remove(verb)
    launcher, request = place.launcher(), admitted(store, "forbidden")
    with pytest.raises(Precondition, match=f'cannot {verb} resource "{kind}"') as caught:
        await launcher.start(named("forbidden"), request)
    assert "system:serviceaccount:variegate:trainer" in caught.value.message
    assert "k8s/components/training-jobs" in caught.value.message
    await launcher.cancel(named("forbidden"))
    await launcher.close()


async def test_what_the_api_server_does_not_take_is_told_with_where_to_look(place, cluster, store):
    pod(cluster.template)["volums"] = []
    launcher = place.launcher()
    with pytest.raises(Precondition, match="volums") as caught:
        await launcher.start(named("misspelt"), admitted(store, "misspelt"))
    assert "TRAINER_JOB_TEMPLATE" in caught.value.message
    await launcher.close()


async def test_a_template_that_is_missing_or_none_is_refused_at_the_start(place, cluster):
    launcher = place.launcher()
    await launcher.load()
    cluster.template["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["name"] = (
        "x"
    )
    with pytest.raises(Precondition, match="it needs a container 'trainer'"):
        await launcher.load()
    cluster.template["metadata"]["name"] = "other"
    with pytest.raises(Precondition, match="there is no CronJob training") as caught:
        await launcher.load()
    assert "apply k8s/components/training-jobs" in caught.value.message
    await launcher.close()
