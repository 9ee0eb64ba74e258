"""Prompts of an augmentation: what they lack is told, and guidance that leads nowhere refused."""

import grpc
import pytest

from servicekit.statuses import from_rpc_error
from tests.gateway.doubles import Trouble
from tests.gateway.system import open_system, rows_of


async def test_guidance_without_a_prompt_to_guide_by_is_refused(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        with pytest.raises(
            grpc.aio.AioRpcError, match="boomerang denoises without a prompt"
        ) as caught:
            await system.start(method="boomerang", guidance_scale=7.5)
        made = await system.augment(method="boomerang")
        rows = rows_of(system.store, made.result.manifest_uri)
    assert from_rpc_error(caught.value).field == "augmentation.guidance_scale"
    assert {row["guidance_scale"] for row in rows} == {1.0}


async def test_prompts_that_lack_what_wordnet_does_not_know_are_counted_and_said(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(unknown="dog")) as system:
        await system.import_folder(train)
        made = await system.augment(method="sariyildiz", images_per_class=6)
        known = await system.augment("a2", method="sariyildiz", class_names=["cat"])
    assert {one.class_name: one.fallback_count for one in made.result.prompts} == {
        "cat": 0,
        "dog": 6,
    }
    [notice] = [text for text in made.result.notices if "WordNet" in text]
    assert "1 of 2 classes ('dog'): 6 of 12 prompts say less" in notice and "--names" in notice
    assert not [text for text in known.result.notices if "WordNet" in text]


async def test_a_negative_prompt_where_nothing_is_guided_is_refused(folders):
    root, train, _ = folders
    cases = [
        ({"method": "boomerang"}, "boomerang denoises without guidance"),
        ({"method": "simple", "guidance_scale": 1.0}, "with guidance_scale 1 there is no guidance"),
        ({"method": "retrieval"}, "retrieval makes no images"),
    ]
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        for fields, words in cases:
            with pytest.raises(grpc.aio.AioRpcError, match=words) as caught:
                await system.start(negative_prompt="blurred", **fields)
            assert from_rpc_error(caught.value).field == "augmentation.negative_prompt"
