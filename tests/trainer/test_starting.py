"""Runs with further test sets, and with weights to start from, over gRPC."""

import grpc
import pytest
from safetensors.numpy import load
from variegate.trainer.v1 import trainer_pb2 as pb

from gateway.cli.weights.packaged import PACKAGED, read
from tests.trainer.conftest import CLASSES, SYNTHETIC, put_manifest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def sketch(store, photos):
    """A test set of two of the three classes, all of whose images are of the split train."""
    rows = [row for row in photos.pool if row["class_name"] != "frog"]
    rows = [{k: v for k, v in row.items() if k != "parents"} | {"split": "train"} for row in rows]
    return put_manifest(store, "store:datasets/sketch/manifest.parquet", rows)


def named(uri, name="sketch"):
    return pb.TestSet(name=name, manifest_uri=uri)


async def test_further_test_sets_are_reported_beside_the_main_one_and_change_nothing_else(
    client, sketch, store
):
    alone = (await client.train("alone", seed=1)).result
    run = await client.train("beside", seed=1, test_sets=[named(sketch)])
    assert [one.name for one in run.test_sets] == ["sketch"]
    [found] = run.result.test_sets
    assert found.test_image_count == 24
    airplane, frog, truck = found.classes
    assert not frog.HasField("accuracy") and frog.test_image_count == 0
    assert found.accuracy == pytest.approx((airplane.accuracy + truck.accuracy) / 2)
    assert found.HasField("calibration_error") and not found.HasField("top5_accuracy")
    assert run.result.accuracy == alone.accuracy
    assert 0 <= run.result.calibration_error == alone.calibration_error <= 1
    weights = [load(store.get(r.weights_uri.removeprefix("store:"))) for r in (alone, run.result)]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[1][name] == value).all() for name, value in weights[0].items())


async def test_images_to_choose_by_are_reported_and_change_nothing_else(
    client, photos, store, fails
):
    rows = [{k: v for k, v in row.items() if k != "parents"} for row in photos.pool]
    kept = [row | {"split": "validation"} for row in rows]
    every = [*photos.train, *photos.test, *kept]
    uri = put_manifest(store, "store:datasets/kept/manifest.parquet", every)
    alone = (await client.train("unkept", seed=1, manifest_uri=uri)).result
    run = await client.train("kept", seed=1, manifest_uri=uri, validation=True)
    assert run.validation and run.result.validation.name == "validation"
    assert run.result.validation.test_image_count == len(kept)
    assert not alone.HasField("validation")
    assert (run.result.accuracy, run.result.final_loss) == (alone.accuracy, alone.final_loss)
    assert run.result.real_image_count == len(photos.train)
    choices = {"validation": True, "schedule": "plateau", "choose": "best"}
    chosen = await client.train("chosen", seed=1, manifest_uri=uri, **choices)
    assert (chosen.schedule, chosen.choose, chosen.step_count) == ("plateau", "best", 6)
    assert 0 < chosen.result.chosen_step <= chosen.result.done_step_count == 6
    error = await fails(client.create("none-kept", validation=True))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION and error.reason == "SPLIT_EMPTY"


async def test_a_test_set_with_images_of_the_training_is_refused(client, store, photos, fails):
    uri = put_manifest(store, "store:datasets/leak/manifest.parquet", photos.train[:3])
    error = await fails(client.create("leak", test_sets=[named(uri)]))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "3 training images are test images" in error.message
    error = await fails(client.create("twice", test_sets=[named(uri), named(uri)]))
    assert "two test sets are called 'sketch'" in error.message


async def test_a_run_starts_from_the_weights_of_another_and_a_frozen_one_keeps_them(client, store):
    def weights(run):
        return load(store.get(run.result.weights_uri.removeprefix("store:")))

    first = await client.train("start", seed=1)
    start = {"initial_weights_uri": first.result.weights_uri, "seed": 2}
    whole = weights(await client.train("whole", **start))
    frozen = weights(await client.train("frozen", freeze=True, **start))
    before = weights(first)
    changed = [name for name, value in frozen.items() if (value != before[name]).any()]
    assert {frozen[name].shape[0] for name in changed} == {len(CLASSES)} and len(changed) == 2
    assert sum(bool((value != before[name]).any()) for name, value in whole.items()) > 2
    anew = weights(await client.train("anew", seed=2))
    assert any((whole[name] != value).any() for name, value in anew.items())


async def test_weights_that_are_missing_or_of_another_network_are_refused(client, fails):
    error = await fails(client.create("none", initial_weights_uri="store:weights/none"))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "there are no weights store:weights/none" in error.message
    error = await fails(client.create("bare", freeze=True))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "freeze keeps all but the last layer" in error.message
    uri = (await client.train("start", seed=1)).result.weights_uri
    operation = await client.finish("other", classifier="wrn_28_2", initial_weights_uri=uri)
    assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "of another architecture" in operation.error.message


async def test_a_frozen_network_with_weights_of_a_package_learns_from_few_images(client, store):
    row = PACKAGED["efficientnet-lite0"]
    store.put("weights/packaged.safetensors", read(row))
    values = {"classifier": row.classifier, "image_size": 96, "step_count": 12, "policy": "none"}
    uri = "store:weights/packaged.safetensors"
    start = {"initial_weights_uri": uri, "freeze": True, "learning_rate": 0.01}
    run = await client.train("packaged", **values, **start)
    assert run.result.accuracy > 0.5  # A third is chance.
    assert list(run.result.normalisation.mean) == list(run.result.normalisation.std) == [0.5] * 3
    values = {"classifier": row.classifier}
    sizes = [await client.plan(**values, initial_weights_uri=one) for one in ("", uri)]
    assert [plan.training_run.image_size for plan in sizes] == [32, 224]


async def test_networks_of_timm_are_trained_by_name_and_unknown_ones_told_at_once(client, fails):
    run = await client.train("timm", classifier="timm:test_resnet", image_size=32, step_count=2)
    assert run.classifier == "timm:test_resnet" and run.result.test_image_count == 30
    error = await fails(client.create("typo", classifier="timm:resnet5O"))
    assert "timm has no network 'resnet5O'; it has resnet50" in error.message
    error = await fails(client.create("vit", classifier="timm:test_vit", image_size=64))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "image_size is 64; the classifier 'timm:test_vit' takes 160 alone" in error.message


async def test_a_strategy_that_the_classifier_cannot_have_is_refused(client, fails):
    run = {"synthetic_manifest_uri": SYNTHETIC, "strategy": "aux_bn"}
    error = await fails(client.create("vit", classifier="vit_b_16", **run))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT and "batch norm" in error.message
    error = await fails(client.create("tiny", **run | {"batch_size": 2}))
    assert "the strategy 'aux_bn' needs 4 and more" in error.message
    trained = await client.train("aux", **run)
    assert trained.strategy == "aux_bn" and trained.result.synthetic_image_count == 36
