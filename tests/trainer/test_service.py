"""The trainer over gRPC, on real photographs."""

import asyncio
import io
import json

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from onnxruntime import InferenceSession
from safetensors.numpy import load
from variegate.trainer.v1 import trainer_pb2 as pb

from servicekit.devices import kind_of_device
from tests.trainer.conftest import CLASSES, SYNTHETIC, connect, put_manifest, settings
from trainer.defaults import resolve, with_image_size
from trainer.runs import RunRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_run_reports_every_class_and_keeps_its_weights(client, store):
    run = await client.train("first", seed=3)
    result = run.result
    assert (run.strategy, run.policy, run.classifier) == ("real", "standard", "cnn4")
    assert (run.image_size, run.batch_size, run.step_count) == (32, 8, 6)
    assert run.learning_rate > 0
    assert [score.class_name for score in result.classes] == list(CLASSES)
    assert [score.test_image_count for score in result.classes] == [10, 10, 10]
    assert (result.real_image_count, result.synthetic_image_count) == (24, 0)
    mean = sum(score.accuracy for score in result.classes) / 3
    assert result.accuracy == pytest.approx(mean)
    for label, score in enumerate(result.classes):
        assert sum(score.predicted_counts) == 10
        assert score.predicted_counts[label] == round(10 * score.accuracy)
    weights = load(store.get(result.weights_uri.removeprefix("store:")))
    assert any(value.shape[:1] == (len(CLASSES),) for value in weights.values())


async def test_a_run_keeps_card_metrics_and_the_prediction_of_every_test_image(client, store):
    run = await client.train("kept", seed=2**64 - 1)
    result = run.result

    def read(uri):
        return store.get(uri.removeprefix("store:"))

    card = json.loads(read(result.card_uri))
    assert card["class_names"] == list(CLASSES) and card["image_size"] == 32
    assert card["normalisation"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert card["recipe"]["step_count"] == 6 and card["recipe"]["seed"] == str(2**64 - 1)
    weights = read(result.weights_uri)
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert json.loads(header["__metadata__"]["facts"]) == card
    lines = [json.loads(line) for line in read(result.metrics_uri).splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    rows = pq.read_table(io.BytesIO(read(result.predictions_uri))).to_pylist()
    assert len(rows) == 30
    right = sum(row["class_name"] == row["predicted_class_name"] for row in rows)
    assert right / 30 == pytest.approx(result.accuracy)
    assert rows[0]["item_id"] == "test-airplane-0" and 1 / 3 < rows[0]["confidence"] <= 1


async def test_a_run_that_is_to_export_its_classifier_leaves_it_as_onnx(client, store):
    plain = (await client.train("unexported", seed=5)).result
    assert (plain.onnx_uri, plain.onnx_failure) == ("", "")
    run = await client.train("exported", seed=5, export_onnx=True)
    assert run.export_onnx and run.result.onnx_failure == ""
    assert run.result.accuracy == plain.accuracy
    session = InferenceSession(store.get(run.result.onnx_uri.removeprefix("store:")))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == list(CLASSES)
    card = json.loads(store.get(run.result.card_uri.removeprefix("store:")))
    assert json.loads(facts["card"]) == card | {"normalisation": "inside"}


async def test_a_class_without_test_images_has_no_accuracy(client, store, photos):
    test = [row for row in photos.test if row["class_name"] != "frog"][:-5]
    uri = put_manifest(store, "store:datasets/gap/manifest.parquet", photos.train + test)
    result = (await client.train("gap", manifest_uri=uri)).result
    airplane, frog, truck = result.classes
    assert not frog.HasField("accuracy") and frog.test_image_count == 0
    assert airplane.HasField("accuracy") and truck.test_image_count == 5
    assert result.balanced_accuracy == pytest.approx((airplane.accuracy + truck.accuracy) / 2)


@pytest.mark.parametrize(
    ("sides", "classifier", "size"),
    [
        ([(28, 60)], "cnn4", 28),
        ([(9, 9)], "cnn4", 16),
        ([(640, 480)], "cnn4", 64),
        ([(640, 480)], "resnet50", 224),
        ([(32, 32)], "resnet50", 64),
        ([(100, 40), (40, 100), (50, 50)], "wrn_28_2", 40),
        ([(0, 0)], "cnn4", 32),
    ],
)
async def test_images_are_as_large_as_the_data_within_what_the_classifier_is_made_for(
    sides, classifier, size
):
    request = resolve(RunRequest("store:m", classifier=classifier))
    assert with_image_size(request, np.array([min(side) for side in sides])).image_size == size


async def test_the_size_of_the_images_comes_from_the_manifest_and_a_run_keeps_it(
    client, store, photos
):
    rows = [row | {"width": 40, "height": 24} for row in photos.train + photos.test]
    uri = put_manifest(store, "store:datasets/sized/manifest.parquet", rows)
    run = await client.train("sized", manifest_uri=uri)
    assert run.image_size == 24
    assert (await client.train("sized", manifest_uri=uri)) == run
    asked = await client.train("asked", manifest_uri=uri, image_size=16)
    assert asked.image_size == 16


async def test_a_data_set_that_is_kept_as_encoded_files_trains_to_the_same_weights(
    client, store, tmp_path, monkeypatch
):
    run = {"synthetic_manifest_uri": SYNTHETIC, "seed": 9, "policy": "randaugment"}
    decoded = await client.train("decoded", **run)
    monkeypatch.setattr("trainer.data.keepers.DECODED_BYTES", 0)
    async with connect(settings(tmp_path, loaders=2), store) as other:
        encoded = await other.train("encoded", **run)
    assert len(list((tmp_path / "images").glob("*/*.tar"))) == 2
    weights = [
        store.get(one.result.weights_uri.removeprefix("store:")) for one in (decoded, encoded)
    ]
    assert weights[0] == weights[1]


async def test_a_plan_counts_images_that_are_not_made_yet_and_starts_nothing(
    client, store, tmp_path, fails
):
    plan = await client.plan(image_size=16, planned_image_count=36)
    assert plan.cache_byte_count > (54 + 36) * 3 * 16 * 16
    assert (plan.training_run.strategy, plan.training_run.classifier) == ("combined", "cnn4")
    assert not plan.training_run.name
    async with connect(settings(tmp_path, cache_gigabytes=0.0001), store) as small:
        await small.plan(image_size=16)  # 54 images of 16 pixels take 45 kB.
        error = await fails(small.plan(image_size=16, planned_image_count=100))
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "0.0001 GB; set TRAINER_CACHE_GIGABYTES to 0.01 or more" in error.message
    assert not (tmp_path / "images").exists()


async def test_a_plan_takes_a_manifest_or_a_count_and_refuses_what_a_run_refuses(client, fails):
    error = await fails(client.plan(synthetic_manifest_uri=SYNTHETIC, planned_image_count=1))
    assert error.field == "planned_image_count"
    error = await fails(client.plan(strategy="real", planned_image_count=1))
    assert error.field == "training_run.strategy"
    planned = await client.plan(synthetic_manifest_uri=SYNTHETIC, image_size=16)
    assert planned.cache_byte_count > (54 + 36) * 3 * 16 * 16


async def test_the_pace_of_training_is_known_to_the_plans_of_the_same_recipe(client):
    recipe = {"image_size": 20, "batch_size": 12, "step_count": 10}
    assert (await client.plan(**recipe)).images_per_second == 0
    result = (await client.train("paced", **recipe)).result
    plan = await client.plan(**recipe | {"step_count": 500, "seed": 9})
    assert plan.measured_image_count == 10 * 12
    assert plan.images_per_second == pytest.approx(120 / result.seconds, rel=0.5)
    assert (await client.plan(**recipe | {"batch_size": 24})).images_per_second == 0


async def test_training_learns_three_classes_of_photographs(client):
    run = await client.train("learns", step_count=60, batch_size=24, policy="none")
    assert run.result.accuracy >= 0.6
    assert run.result.final_loss < 0.9


async def test_the_same_seed_gives_the_same_result_and_another_seed_another(client, store):
    runs = [await client.train(f"run-{n}", seed=s) for n, s in enumerate((5, 6, 5))]
    weights = [store.get(run.result.weights_uri.removeprefix("store:")) for run in runs]
    assert weights[0] == weights[2] != weights[1]
    assert runs[0].result.final_loss == runs[2].result.final_loss


async def test_a_finished_run_is_answered_at_once_even_if_its_manifests_are_gone(
    client, store, photos
):
    uri = put_manifest(store, "store:datasets/gone/manifest.parquet", photos.train + photos.test)
    run = {"manifest_uri": uri, "synthetic_manifest_uri": SYNTHETIC}
    first = await client.train("once", **run)
    store.delete(uri.removeprefix("store:"))
    operation = await client.create("once", **run)
    again = pb.TrainingRun()
    assert operation.done and operation.response.Unpack(again)
    assert again == first
    assert again.result.synthetic_image_count == 36


async def test_an_id_belongs_to_one_run(client, fails):
    await client.train("mine", seed=1)
    error = await fails(client.create("mine", seed=2))
    assert error.code is grpc.StatusCode.ALREADY_EXISTS


async def test_runs_are_listed_by_page_and_found_by_name(client, fails):
    for name in ("run-y", "run-x", "run-z"):
        await client.train(name, step_count=1)
    request, listed = pb.ListTrainingRunsRequest(page_size=2), []
    while True:
        page = await client.trainer.ListTrainingRuns(request, timeout=30)
        assert len(page.training_runs) <= 2
        listed += page.training_runs
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    names = [run.name for run in listed]
    assert names == sorted(set(names))
    assert {f"trainingRuns/run-{letter}" for letter in "xyz"} <= set(names)
    named = pb.GetTrainingRunRequest(name="trainingRuns/run-z")
    one = await client.trainer.GetTrainingRun(named, timeout=30)
    assert one == listed[names.index(one.name)] and one.result.test_image_count == 30
    error = await fails(
        client.trainer.ListTrainingRuns(
            pb.ListTrainingRunsRequest(page_token="made-up"), timeout=30
        )
    )
    assert error.field == "page_token"
    missing = pb.GetTrainingRunRequest(name="trainingRuns/nobody")
    error = await fails(client.trainer.GetTrainingRun(missing, timeout=30))
    assert error.code is grpc.StatusCode.NOT_FOUND


async def test_metrics_are_streamed_while_the_run_trains_and_a_stream_can_go_on(client):
    await client.create("watched", step_count=40)
    request = pb.WatchMetricsRequest(training_run="trainingRuns/watched")
    live = [m async for m in client.trainer.WatchMetrics(request)]
    assert [metrics.step for metrics in live] == list(range(1, 41))
    assert set(live[0].values) == {"loss", "learning_rate", "train_accuracy"}
    request.after_step = 30
    kept = [m async for m in client.trainer.WatchMetrics(request)]
    assert kept == live[30:]


async def test_recipes_are_described(client):
    recipes = await client.trainer.ListRecipes(pb.ListRecipesRequest(), timeout=30)
    strategies = ["aux_bn", "combined", "half_half", "real", "rsp", "two_phase"]
    assert [r.id for r in recipes.strategies] == strategies
    every = [*recipes.strategies, *recipes.policies, *recipes.classifiers]
    assert all(recipe.description.endswith(".") for recipe in every)
    assert [r.needs_synthetic for r in recipes.strategies] == [one != "real" for one in strategies]
    assert recipes.device == kind_of_device("auto", "TRAINER_DEVICE")
    sizes = {r.id: (r.smallest_image_size, r.usual_image_size) for r in recipes.classifiers}
    assert (sizes["cnn4"], sizes["resnet50"]) == ((16, 64), (64, 224))
    assert len(recipes.code_digest) == 64
    networks = list(recipes.timm_networks)
    assert "resnet50" in networks and networks == sorted(networks)
    sizes = recipes.timm_image_sizes["test_vit"]
    assert (sizes.smallest, sizes.largest) == (160, 160)
    assert "resnet50" not in recipes.timm_image_sizes


async def test_waiting_runs_start_when_a_worker_is_free(client):
    runs = await asyncio.gather(*(client.train(f"queued-{n}", seed=n) for n in range(3)))
    assert all(run.result.test_image_count == 30 for run in runs)
