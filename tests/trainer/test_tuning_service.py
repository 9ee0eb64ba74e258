"""Tunings asked for over gRPC: what comes out, and what is refused."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from variegate.trainer.v1 import trainer_pb2 as pb

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.artefacts.files import read
from diffusion.card import read_card
from servicekit.operations import wait_for
from tests.trainer.conftest import DATASET, put_manifest

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAIN = {"manifest_uri": DATASET, "method": "ft_conditioning", "model": "text"}
SHORT = {"epoch_count": 1, "epoch_step_count": 2, "batch_size": 2, "seed": 5}


async def create(client: Any, tuning_id: str, **values: Any) -> Any:
    tuning = pb.Tuning(**PLAIN | {"class_names": ["frog"]} | SHORT | values)
    request = pb.CreateTuningRequest(tuning_id=tuning_id, tuning=tuning)
    return await client.trainer.CreateTuning(request, timeout=60)


async def tuned(client: Any, tuning_id: str, **values: Any) -> pb.Tuning:
    operation = await create(client, tuning_id, **values)
    assert operation.name == f"operations/trainer-tuning.{tuning_id}"
    done = await wait_for(client.operations, operation.name, timeout=250, poll_seconds=0.05)
    assert not done.HasField("error"), done.error.message
    progress, found = pb.CreateTuningMetadata(), pb.Tuning()
    assert done.metadata.Unpack(progress) and done.response.Unpack(found)
    assert progress.done_step_count == progress.total_step_count == 2
    return found


async def test_what_was_learned_is_in_the_store_with_what_it_was_learned_from(
    client, store, photos
):
    ids = [row["item_id"] for row in photos.train if row["class_name"] == "frog"][:6]
    found = await tuned(client, "frogs", train_item_ids=ids)
    named = pb.GetTuningRequest(name="tunings/frogs")
    assert await client.trainer.GetTuning(named, timeout=30) == found
    listed = await client.trainer.ListTunings(pb.ListTuningsRequest(), timeout=30)
    assert "tunings/frogs" in [one.name for one in listed.tunings]
    result = found.result
    assert (result.train_image_count, result.validation_image_count) == (5, 1)
    best = result.artefacts[0]
    assert (best.checkpoint, best.class_name, best.image_count) == ("validation", "frog", 5)
    data = store.get(best.artefact.uri.removeprefix("store:"))
    assert hashlib.sha256(data).hexdigest() == best.artefact.sha256
    facts, tensors = read(
        data, Artefact(best.artefact.uri, best.artefact.sha256, Kind.CONDITIONING)
    )
    assert tensors["text"].shape == read_card(Path("models/nano/diffusion/text")).text_shape
    assert facts.data == result.data_digest
    sources = pq.read_table(io.BytesIO(store.get(result.sources_uri.removeprefix("store:"))))
    assert sorted(sources.column("item_id").to_pylist()) == sorted(ids)
    assert sources.column("is_held_out").to_pylist() == [False] * 5 + [True]
    watch = pb.WatchMetricsRequest(training_run="tunings/frogs")
    told = [one async for one in client.trainer.WatchMetrics(watch, timeout=30)]
    assert set(told[-1].values) == {"loss", "validation_loss", "learning_rate"}


async def test_what_was_learned_of_images_that_are_not_declared_is_no_source_of_training_images(
    client, fails, store, photos
):
    ids = [row["item_id"] for row in photos.train if row["class_name"] == "frog"]
    found = await tuned(client, "all-frogs", train_item_ids=ids)
    uri = found.result.artefacts[0].artefact.uri
    lineage = json.dumps({"artefacts": [{"uri": uri}]}, separators=(",", ":"))
    rows = [{**row, "parents": [], "lineage": lineage} for row in photos.pool]
    manifest = put_manifest(store, "store:augmentations/tuned/manifest.parquet", rows)
    subset = [row["item_id"] for row in photos.train if row["item_id"] != ids[0]]
    error = await fails(
        client.create("leak", train_item_ids=subset, synthetic_manifest_uri=manifest)
    )
    assert error.reason == "LEARNED_OUTSIDE_TRAINING_SUBSET"
    assert "tunings/all-frogs learned of 1 images outside" in error.message
    assert ids[0] in error.message
    await client.plan(synthetic_manifest_uri=manifest)


async def test_a_tuning_and_a_training_run_may_have_the_same_id(client):
    await client.train("alike", step_count=2)
    assert (await tuned(client, "alike")).name == "tunings/alike"


async def test_defaults_are_filled_in_and_said(client):
    found = await tuned(client, "words", method="textual_inversion")
    assert found.templates == ["A photo of {}."] and found.class_texts == ["frog"]
    assert found.patience == 5 and found.learning_rate > 0
    word = found.result.artefacts[0]
    assert word.word == "<frog>" and word.artefact.kind == 2


async def test_methods_are_listed(client):
    recipes = await client.trainer.ListRecipes(pb.ListRecipesRequest(), timeout=30)
    ids = [one.id for one in recipes.tuning_methods]
    assert {"textual_inversion", "ft_conditioning", "ft_cluster_conditioning"} < set(ids)
    assert {"imagic", "pseudoword_dm", "lora", "pix2pix"} < set(ids)
    assert recipes.tuning_code_digest != recipes.code_digest


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"method": "magic"}, "tuning.method", "known are ft_cluster_conditioning, "),
        ({"model": "sdxl"}, "tuning.model", "the models there are: pix2pix, text, unclip"),
        ({"class_names": []}, "tuning.class_names", "one class at a time"),
        ({"class_names": ["frog", "truck"]}, "tuning.class_names", "one class at a time"),
        ({"class_names": ["unicorn"]}, "tuning.class_names", "it has airplane, frog, truck"),
        ({"class_texts": ["a", "b"]}, "tuning.class_texts", "2 texts for 1 classes"),
        ({"class_texts": [", toad"]}, "tuning.class_texts", "first lemma is empty"),
        ({"rank": 4}, "tuning.rank", "does not know rank"),
        ({"templates": ["a {}"]}, "tuning.templates", "does not know templates"),
        (
            {"method": "textual_inversion", "templates": ["a cat"]},
            "tuning.templates",
            "no {} for the class",
        ),
        (
            {"method": "ft_cluster_conditioning", "feature_model": "vgg"},
            "tuning.feature_model",
            "no model 'vgg'",
        ),
        ({"train_item_ids": ["nobody"]}, "tuning.train_item_ids", "not in the manifest"),
        ({"gpus_per_node": 3}, "tuning.batch_size", "3 processes cannot share"),
    ],
)
async def test_what_no_tuning_can_be_is_refused(client, fails, values, field, said):
    error = await fails(create(client, "bad", **values))
    assert error.code.name == "INVALID_ARGUMENT" and error.field == field
    assert said in error.message


@pytest.mark.parametrize(
    ("values", "reason", "said"),
    [
        ({"model_digest": "0" * 64}, "MODELS_DIFFER", "give TRAINER_MODELS_FOLDER and"),
        ({"model": "unclip"}, "MODEL_UNSUITABLE", "of the models here use text"),
        (
            {"method": "ft_cluster_conditioning", "feature_model": "text"},
            "MODEL_UNSUITABLE",
            "no image encoder",
        ),
        ({"train_item_ids": ["target-truck-0"]}, "CLASS_EMPTY", "no image in the training subset"),
        ({"train_item_ids": ["test-frog-0"]}, "TEST_IMAGE_IN_TRAINING", "test split"),
    ],
)
async def test_what_cannot_be_learned_here_is_refused(client, fails, values, reason, said):
    error = await fails(create(client, "bad", **values))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", reason)
    assert said in error.message


async def test_a_dataset_without_test_images_can_be_learned_from(client, store, photos):
    uri = put_manifest(store, "store:datasets/train/manifest.parquet", photos.train)
    assert (await tuned(client, "untested", manifest_uri=uri)).result.epoch_count == 1


async def test_a_copy_of_a_test_image_is_never_learned_from(client, fails, store, photos):
    [test] = [row for row in photos.test if row["item_id"] == "test-frog-0"]
    rows = [*photos.train, *photos.test, {**test, "item_id": "copy", "split": "train"}]
    uri = put_manifest(store, "store:datasets/leak/manifest.parquet", rows)
    error = await fails(create(client, "leak", manifest_uri=uri))
    assert error.reason == "TEST_IMAGE_IN_TRAINING" and "copy = test image" in error.message
