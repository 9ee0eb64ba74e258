"""Runs that the trainer refuses over gRPC, with the field or the image that is the reason."""

import grpc
import pytest

from tests.trainer.conftest import SYNTHETIC, put_manifest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("run", "field", "said"),
    [
        ({"strategy": "magic"}, "strategy", "aux_bn, combined, half_half, real, rsp, two_phase"),
        ({"policy": "magic"}, "policy", "none, "),
        ({"classifier": "magic"}, "classifier", "cnn4, efficientnet_b0"),
        ({"strategy": "two_phase"}, "synthetic_manifest_uri", "needs synthetic images"),
        ({"strategy": "real", "synthetic_manifest_uri": SYNTHETIC}, "strategy", "combined"),
        ({"policy": "mixup+randaugment+none"}, "policy", "joins randaugment and none"),
        ({"policy": "mixup+mixup"}, "policy", "names one twice"),
        ({"policy": "randaugment+mixed"}, "policy", "'mixed' is not a policy"),
        ({"image_size": 8}, "image_size", "'cnn4' takes 16 to 1024"),
        ({"image_size": 32, "classifier": "resnet50"}, "image_size", "'resnet50' takes 64"),
        ({"batch_size": 1}, "batch_size", "2 to 4096"),
        ({"manifest_uri": "/etc/passwd"}, "manifest_uri", "store:KEY"),
        ({"train_item_ids": ["nobody"]}, "train_item_ids", "nobody"),
        ({"learning_rate": float("nan")}, "learning_rate", ""),
    ],
)
async def test_a_request_that_cannot_work_names_its_field_and_what_is_known(
    client, fails, run, field, said
):
    error = await fails(client.create("bad", **run))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field == f"training_run.{field}"
    assert said in error.message


async def test_a_manifest_that_does_not_exist_is_not_found(client, fails):
    error = await fails(client.create("bad", manifest_uri="store:datasets/none.parquet"))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert "datasets/none.parquet" in error.message


async def test_a_parent_outside_the_declared_subset_is_refused_with_names(client, photos, fails):
    subset = [row["item_id"] for row in photos.train if row["item_id"] != "target-frog-0"]
    error = await fails(
        client.create("leak", train_item_ids=subset, synthetic_manifest_uri=SYNTHETIC)
    )
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "PARENT_OUTSIDE_TRAINING_SUBSET"
    assert "12 synthetic images" in error.message
    assert "pool-frog-0" in error.message and "parent target-frog-0" in error.message


async def test_an_image_that_cannot_be_decoded_is_named_in_the_operation(client, store, photos):
    store.put("images/no/noise.png", b"not an image")
    rows = [photos.train[0] | {"image_uri": "store:images/no/noise.png", "sha256": "0"}]
    rows += photos.train[1:] + photos.test
    uri = put_manifest(store, "store:datasets/undecodable/manifest.parquet", rows)
    operation = await client.finish("undecodable", manifest_uri=uri)
    assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "images/no/noise.png" in operation.error.message
