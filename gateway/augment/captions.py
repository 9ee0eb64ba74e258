"""Captions of a dataset's images: once per image, model and prefix, kept in the store."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from gateway.clients.captioner import Caption, CaptionRequest
from gateway.context import Context
from gateway.datasets.manifest import DatasetItem
from gateway.digests import digest
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import AtMost, step, steps
from imaging.decode import VERSION as DECODER
from servicekit.errors import Precondition, ServiceError
from servicekit.storage import ObjectStore

_SHARD = 64


Names = Mapping[str, str]  # What texts call a class, by class name.


def prefix_of(display_name: str) -> str:
    """Returns the words that a caption starts with, so that the class is always named (MVC)."""
    return f"This is an image of {display_name}"


async def caption(
    context: Context, images: Sequence[DatasetItem], names: Names, progress: WorkProgress
) -> dict[str, str]:
    """Returns the caption of each image by item id; images that cannot be captioned are missing.

    `names` are what captions call the classes. Raises Precondition if a class has images and none
    of them could be captioned.
    """
    progress.start("caption", len(images), "images")
    if not images:
        return {}
    model = await step("caption model", context.clients.captioner.model)
    shards = [images[first : first + _SHARD] for first in range(0, len(images), _SHARD)]
    replicas = context.clients.captioner.replicas
    results = await steps(
        "caption",
        [partial(_shard, context, shard, names, model) for shard in shards],
        begin=AtMost(lambda: 1 + -(-2 * replicas.capacity() // _SHARD)).begin,
        done=lambda number, _: progress.advance(len(shards[number])),
    )
    captions: dict[str, str] = {}
    for found, failed in results:
        captions.update(found)
        for item_id, message in failed.items():
            progress.fail(item_id, message)
    _check(images, captions)
    return captions


async def _shard(
    context: Context, images: Sequence[DatasetItem], names: Names, model: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Returns captions by item id, and messages of those that failed."""
    store = context.store
    keys = {image.item_id: _key(image, names, model) for image in images}
    captions = await asyncio.to_thread(_cached, store, keys)
    requests = {
        image.item_id: CaptionRequest(image.image_uri, prefix_of(names[image.class_name]))
        for image in images
        if image.item_id not in captions
    }
    answers = await context.clients.captioner.caption(requests)
    failed = {
        key: answer.message for key, answer in answers.items() if isinstance(answer, ServiceError)
    }
    fresh = {key: answer for key, answer in answers.items() if isinstance(answer, Caption)}
    await asyncio.to_thread(_keep, store, keys, fresh)
    captions.update({key: answer.text for key, answer in fresh.items()})
    return captions, failed


def _key(image: DatasetItem, names: Names, model: str) -> str:
    words = prefix_of(names[image.class_name])
    name = digest("caption", model, words, image.sha256, DECODER)
    return f"captions/{name[:2]}/{name}.json"


def _cached(store: ObjectStore, keys: Mapping[str, str]) -> dict[str, str]:
    return {
        item_id: json.loads(store.get(key))["text"]
        for item_id, key in keys.items()
        if store.exists(key)
    }


def _keep(store: ObjectStore, keys: Mapping[str, str], fresh: Mapping[str, Caption]) -> None:
    for item_id, found in fresh.items():
        document = {"text": found.text, "model": found.model}
        store.put(keys[item_id], json.dumps(document).encode())


def _check(images: Iterable[DatasetItem], captions: dict[str, str]) -> None:
    captioned = {image.class_name for image in images if image.item_id in captions}
    if missing := sorted({image.class_name for image in images} - captioned):
        raise Precondition(
            f"no image of the class {missing[0]!r} could be captioned; look at the captioner's log",
            subject=missing[0],
            reason="NO_CAPTIONS",
        )
