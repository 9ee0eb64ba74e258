"""Runs whose policy is searched for, over a real server: once for all runs that ask for it."""

import asyncio
import hashlib
import json

import grpc
import pytest
import pytest_asyncio
from google.longrunning import operations_pb2
from variegate.trainer.v1 import trainer_pb2 as pb

from servicekit.operations import wait_for
from servicekit.storage import DirectoryStore
from tests.trainer.conftest import DATASET, SYNTHETIC, connect, put_manifest, settings
from tests.trainer.launching import training_processes
from trainer.searching.requests import SEARCHES

SMALL = {"search_folds": 2, "search_trials": 2, "search_kept": 1, "search_steps": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("scratch")
    async with connect(settings(folder, **SMALL), store) as client:
        yield client


@pytest.fixture
def own_store(tmp_path, photos):
    store = DirectoryStore(tmp_path / "store", durable=False)
    for key, data in photos.files.items():
        store.put(key, data)
    put_manifest(store, DATASET, photos.train + photos.test)
    return store


def workers():
    return training_processes(recursive=False)


def searches(store):
    return {key.split("/")[1] for key in store.list(f"{SEARCHES}/") if key.endswith("result.json")}


async def searched(client, run_id, **values):
    return await client.train(run_id, policy="fast_autoaugment", image_size=16, **values)


@pytest.mark.asyncio(loop_scope="module")
async def test_runs_of_the_same_images_and_classifier_share_one_search(client, store):
    first = await searched(client, "first")
    assert len(searches(store)) == 1
    second = await searched(client, "second", seed=5, synthetic_manifest_uri=SYNTHETIC)
    assert len(searches(store)) == 1, "neither the seed nor synthetic images matter to a search"
    other = await searched(client, "other", learning_rate=0.001)
    assert len(searches(store)) == 2, "the classifier is trained otherwise"
    assert first.result.policy_digest == second.result.policy_digest != other.result.policy_digest


@pytest.mark.asyncio(loop_scope="module")
async def test_results_name_the_policy_and_keep_it(client, store):
    result = (await searched(client, "named")).result
    data = store.get(result.policy_uri.removeprefix("store:"))
    assert hashlib.sha256(data).hexdigest() == result.policy_digest
    found = json.loads(data)
    assert len(found["sub_policies"]) == 2 * 1 * 5
    assert found["sizes"]["trials"] == 2 and found["classifier"] == "cnn4"
    card = json.loads(store.get(result.card_uri.removeprefix("store:")))
    assert card["recipe"]["found_policy"] == result.policy_digest
    plain = await client.train("plain", image_size=16)
    assert not plain.result.policy_uri and not plain.result.policy_digest


@pytest.mark.asyncio(loop_scope="module")
async def test_images_that_cannot_be_split_are_refused_with_the_remedy(client, store, photos):
    rows = [row | {"class_name": "all", "label": 0} for row in photos.train[:1]]
    tests = [row | {"class_name": "all", "label": 0} for row in photos.test[:8]]
    manifest = put_manifest(store, "store:datasets/one/manifest.parquet", rows + tests)
    with pytest.raises(Exception, match="no class has two"):
        await searched(client, "one", manifest_uri=manifest)


@pytest.mark.asyncio(loop_scope="module")
async def test_settings_of_the_search_are_part_of_what_results_depend_on(client, store, tmp_path):
    ours = await client.trainer.ListRecipes(pb.ListRecipesRequest(), timeout=30)
    more = SMALL | {"search_trials": 3}
    async with connect(settings(tmp_path, **more), store) as other:
        theirs = await other.trainer.ListRecipes(pb.ListRecipesRequest(), timeout=30)
    async with connect(settings(tmp_path, **SMALL, max_runs=2), store) as other:
        same = await other.trainer.ListRecipes(pb.ListRecipesRequest(), timeout=30)
    assert ours.code_digest == same.code_digest != theirs.code_digest


async def until_searched(client, name, count):
    """Returns the progress once so many steps of the search are done."""
    request = operations_pb2.GetOperationRequest(name=name)
    while True:
        operation = await client.operations.GetOperation(request, timeout=30)
        progress = pb.CreateTrainingRunMetadata()
        operation.metadata.Unpack(progress)
        if progress.done_search_step_count >= count:
            return progress
        assert not operation.done, operation.error.message
        await asyncio.sleep(0.02)


def search_file(store, ending):
    [key] = [key for key in store.list(f"{SEARCHES}/") if key.endswith(ending)]
    return key


@pytest.mark.slow
async def test_a_killed_search_goes_on_to_what_an_undisturbed_one_finds(tmp_path, own_store):
    values = SMALL | {"search_trials": 12}
    async with connect(settings(tmp_path / "one", **values), own_store) as client:
        calm = await searched(client, "calm")
        for ending in ("result.json", "policy.json"):
            own_store.delete(search_file(own_store, ending))
        operation = await client.create("killed", policy="fast_autoaugment", image_size=16)
        progress = await until_searched(client, operation.name, 8)
        assert progress.total_search_step_count == 2 * (3 + 12) and not progress.done_step_count
        for worker in workers():
            worker.kill()
        stopped = await wait_for(client.operations, operation.name, timeout=60)
        assert "ask again to go on" in stopped.error.message
    # Elsewhere, where only the store tells of it.
    async with connect(settings(tmp_path / "other", **values), own_store) as client:
        killed = await searched(client, "killed")
    assert killed.result.policy_digest == calm.result.policy_digest


async def test_a_search_ends_with_the_last_run_that_waits_for_it(tmp_path, own_store):
    values, before = SMALL | {"search_trials": 500}, len(workers())
    async with connect(settings(tmp_path / "scratch", **values), own_store) as client:
        names = []
        for seed in range(2):
            operation = await client.create(
                f"waits-{seed}", policy="fast_autoaugment", image_size=16, seed=seed
            )
            names.append(operation.name)
        for name, others in zip(names, (1, 0), strict=True):
            await until_searched(client, names[-1], 1)
            request = operations_pb2.CancelOperationRequest(name=name)
            await client.operations.CancelOperation(request, timeout=60)
            stopped = await wait_for(client.operations, name, timeout=60)
            assert stopped.error.code == grpc.StatusCode.CANCELLED.value[0]
            assert len(workers()) - before == others
