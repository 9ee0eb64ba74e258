"""Augmentations through the gateway's real server, in front of small deterministic services."""

import json
import time
from collections import Counter

import grpc
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.methods.composition import methods_in
from gateway.methods.registry import all_methods
from servicekit.errors import Exhausted
from servicekit.statuses import from_rpc_error
from servicekit.storage import to_key
from tests.gateway.doubles import Trouble
from tests.gateway.pictures import picture, write_pool
from tests.gateway.system import open_system, rows_of


@pytest.mark.parametrize(
    "method", [method.id for method in all_methods().values() if not method.needs.pool]
)
async def test_every_method_makes_the_wanted_images_with_their_lineage(folders, method):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test)
        made = await system.augment(method=method, images_per_class=5, seed=3)
        rows = rows_of(system.store, made.result.manifest_uri)
        items = {row["item_id"]: row for row in rows_of(system.store, dataset.manifest_uri)}
    assert made.result.accepted_count == 10 and not made.result.shortfalls
    assert [row["class_name"] for row in rows] == ["cat"] * 5 + ["dog"] * 5
    assert {row["method"] for row in rows} == {one.id for one in methods_in(method)}
    for row in rows:
        lineage = json.loads(row["lineage"])
        assert lineage["method"] == row["method"]
        assert lineage["seed"] == row["seed"] and row["source"] == "generated"
        assert lineage["scores"]["clip_score"] == row["clip_score"]
        for parent in row["parents"]:
            assert items[parent]["split"] == "train"
            assert items[parent]["class_name"] == row["class_name"]
            assert items[parent]["sha256"] in lineage["parents_sha256"]


async def test_the_same_request_answers_the_same_operation_and_makes_nothing_twice(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        first = await system.augment()
        made = system.trouble.made
        again = await system.start()
        assert again.done
        assert (await system.finish(again)) == first
        assert system.trouble.made == made


async def test_captions_are_computed_once_per_image(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        await system.augment("a1", seed=1)
        assert system.trouble.captioned == 6
        await system.augment("a2", seed=2)
        assert system.trouble.captioned == 6


async def test_the_manifest_does_not_depend_on_shards_or_calls_in_flight(folders):
    root, train, _ = folders
    files = []
    for number, size in enumerate((1, 4, 64)):
        state = root / f"state-{number}"
        async with open_system(state, root, shard_size=size) as system:
            await system.import_folder(train)
            made = await system.augment(images_per_class=9)
            files.append(system.store.get(to_key(made.result.manifest_uri)))
    assert files[0] == files[1] == files[2]


class SlowToTell:
    """A store whose answer about a finished resource is old when it arrives."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def exists(self, key):
        found = self._store.exists(key)
        if key.endswith("resource.json"):
            time.sleep(0.3)
        return found


async def test_work_that_ends_while_it_is_asked_about_is_not_called_lost(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, wrap=SlowToTell) as system:
        await system.import_folder(train)
        made = await system.augment()
    assert made.result.accepted_count == 6


async def test_rejected_images_are_replaced_and_listed_with_reasons(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(unsafe_share=0.15)) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=20, check_safety=True)
        rejected = rows_of(system.store, made.result.rejected_uri)
        accepted = rows_of(system.store, made.result.manifest_uri)
    assert made.result.accepted_count == 40 and not made.result.shortfalls
    assert made.result.rejected_count == len(rejected) > 0
    assert {row["reason"] for row in rejected} == {"UNSAFE"}
    assert max(row["attempt"] for row in accepted) > 0
    assert len({row["item_id"] for row in (*accepted, *rejected)}) == 40 + len(rejected)
    assert all(row["unsafe_score"] >= 0 for row in accepted)


async def test_a_class_that_never_reaches_its_number_is_reported(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(same_pixels=True)) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=2)
    assert made.result.accepted_count == 1, "equal pixels count once over all classes"
    short = {s.class_name: s for s in made.result.shortfalls}
    assert short["cat"].made_count == 1 and short["dog"].made_count == 0
    assert "REPEATED" in short["dog"].reason


async def test_only_a_sample_is_checked_for_safety(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        await system.augment(images_per_class=10, safety_sample_count=6)
    assert sum(checked for _, checked in system.trouble.candidates) == 6
    assert len(system.trouble.candidates) == 20


async def test_replacements_of_sampled_images_are_checked_for_safety_too(folders):
    root, train, _ = folders
    trouble = Trouble(unsafe_share=0.2)
    async with open_system(root / "state", root, trouble=trouble) as system:
        await system.import_folder(train)
        made = await system.augment(images_per_class=20, safety_sample_count=10)
        accepted = rows_of(system.store, made.result.manifest_uri)
        rejected = rows_of(system.store, made.result.rejected_uri)
    checked = {uri for uri, was_checked in trouble.candidates if was_checked}
    assert len(accepted) == 40
    assert sum(row["image_uri"] in checked for row in accepted) == 10, "the sample is whole"
    assert sum(row["image_uri"] in checked for row in rejected) > 0
    assert max(row["attempt"] for row in accepted if row["image_uri"] in checked) > 0


async def test_a_busy_generator_is_asked_again(folders):
    root, train, _ = folders
    async with open_system(root / "state", root, trouble=Trouble(busy_calls=3)) as system:
        await system.import_folder(train)
        made = await system.augment()
    assert made.result.accepted_count == 6 and made.result.rejected_count == 0


async def test_an_item_that_fails_is_listed_and_replaced(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        first = await system.augment("a1")
        seeds = [row["seed"] for row in rows_of(system.store, first.result.manifest_uri)]
        system.trouble.bad_seeds = {seeds[0]}
        for key in list(system.store.list("generated/")):
            system.store.delete(key)
        second = await system.augment("a2")
        [failed] = rows_of(system.store, second.result.rejected_uri)
    assert failed["reason"] == "FAILED" and "black" in failed["message"]
    assert failed["seed"] == seeds[0]
    assert second.result.accepted_count == 6


async def test_nothing_made_at_all_is_an_error_and_the_same_request_tries_again(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        system.trouble.bad_seeds = {-1}
        failed = await system.augment()
        assert "none of 6 images could be made" in failed.error.message
        system.trouble.bad_seeds = set()
        assert (await system.augment()).result.accepted_count == 6


async def test_calls_are_full(folders):
    root, train, _ = folders
    trouble = Trouble(pause=0.02)
    settings = {"shard_size": 8}
    async with open_system(root / "state", root, trouble=trouble, **settings) as system:
        await system.import_folder(train)
        await system.augment(images_per_class=40)
    assert {len(call) for call in trouble.calls} == {8}
    assert len(trouble.calls) == 10


class FullStore:
    """A store that runs out of space, or goes away, for keys that contain a word."""

    def __init__(self, store):
        self.store, self.word, self.error = store, "", None

    def __getattr__(self, name):
        return getattr(self.store, name)

    def put(self, key, data, *, overwrite=False):
        self.check(key)
        return self.store.put(key, data, overwrite=overwrite)

    def put_chunks(self, key, chunks):
        self.check(key)
        self.store.put_chunks(key, chunks)

    def check(self, key):
        if self.word and self.word in key:
            raise self.error


@pytest.mark.parametrize(
    ("word", "method"),
    [
        ("captions/", "mvc"),
        ("embeddings/", "cond_embed_cutmix_dropout"),
        ("manifest.parquet", "mvc"),
    ],
)
async def test_a_full_disk_ends_the_work_with_a_sentence_and_loses_nothing(folders, word, method):
    root, train, _ = folders
    async with open_system(root / "state", root, wrap=FullStore) as system:
        await system.import_folder(train)
        system.store.word = word
        system.store.error = Exhausted("no space left to store it; free some", reason="STORE_FULL")
        failed = await system.augment(method=method)
        assert failed.error.code == 8 and "no space left" in failed.error.message
        made = system.trouble.made
        system.store.word = ""
        assert (await system.augment(method=method)).result.accepted_count == 6
        assert system.trouble.made == max(made, 6)


@pytest.mark.parametrize("method", ["mvc", "cond_embed_cutmix_dropout"])
async def test_a_preview_is_the_first_images_of_the_run_which_makes_none_of_them_again(
    folders, method
):
    state, train, _ = folders
    async with open_system(state, train) as system:
        await system.import_folder(train)
        few = await system.augment("few", method=method, images_per_class=6, preview_count=2)
        made = system.trouble.made
        every = await system.augment("every", method=method, images_per_class=6)
        first, rest = (
            {
                row["item_id"]: row["sha256"]
                for row in rows_of(system.store, one.result.manifest_uri)
            }
            for one in (few, every)
        )
    assert few.result.accepted_count == made
    assert not few.result.shortfalls
    assert first.items() <= rest.items()
    assert system.trouble.made == every.result.accepted_count


async def test_a_plan_says_what_an_augmentation_takes_by_the_pace_of_earlier_ones(folders):
    state, train, _ = folders
    wanted = pb.Augmentation(method="mvc", images_per_class=40)
    request = pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=wanted)
    async with open_system(state, train) as system:
        dataset = await system.import_folder(train)
        before = await system.stub.PlanAugmentation(request, timeout=10)
        await system.augment("few", images_per_class=10)
        after = await system.stub.PlanAugmentation(request, timeout=10)
        # What was there already is not the pace of making.
        await system.augment("again", images_per_class=10)
        same = await system.stub.PlanAugmentation(request, timeout=10)
    count = 40 * len(dataset.classes)
    assert (before.image_count, before.images_per_second, before.measured_count) == (count, 0, 0)
    assert before.model == "pix2pix" and before.step_count == 3
    assert after.measured_count == 10 * len(dataset.classes)
    assert after.images_per_second > 0
    assert same.measured_count == after.measured_count


async def test_a_method_that_made_nothing_yet_is_planned_by_the_pace_of_its_model(folders):
    state, train, _ = folders

    def wanted(method, **fields):
        augmentation = pb.Augmentation(method=method, images_per_class=5, **fields)
        return pb.PlanAugmentationRequest(parent="datasets/pets", augmentation=augmentation)

    async with open_system(state, train) as system:
        await system.import_folder(train)
        await system.augment(method="captions", images_per_class=3)
        plan = system.stub.PlanAugmentation
        own = await plan(wanted("captions"), timeout=10)
        other = await plan(wanted("simple"), timeout=10)
        mixed = await plan(wanted("captions:0.5,simple:0.5"), timeout=10)
        model = await plan(wanted("mvc"), timeout=10)
        steps = await plan(wanted("simple", steps=2), timeout=10)
    assert own.measured_count == other.measured_count > 0
    assert other.images_per_second == own.images_per_second
    assert [one.measured_on_other_methods for one in (own, other, mixed)] == [False, True, True]
    assert [one.measured_on_other_methods for one in mixed.methods] == [False, True]
    for unknown in (model, steps):
        assert (unknown.images_per_second, unknown.measured_on_other_methods) == (0, False)


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


@pytest.mark.parametrize("method", ["contextual", "retrieval"])
async def test_classes_are_filled_up_and_have_numbers_of_their_own(folders, method):
    root, train, _ = folders
    for number in (3, 4):
        (train / "dog" / f"{number}.png").write_bytes(picture(("more", number)))
    pool = f"file://{write_pool(root / 'pool.parquet')}" if method == "retrieval" else ""
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        wanted = {"method": method, "pool_uri": pool}
        fields = {**wanted, "images_per_class": 6, "fill_up": True}
        request = pb.PlanAugmentationRequest(
            parent="datasets/pets", augmentation=pb.Augmentation(**fields)
        )
        plan = await system.stub.PlanAugmentation(request, timeout=10)
        filled = await system.augment("filled", **fields)
        own = await system.augment("own", **wanted, class_counts={"cat": 0, "dog": 5})
        counts = [
            Counter(row["class_name"] for row in rows_of(system.store, one.result.manifest_uri))
            for one in (filled, own)
        ]
    assert counts == [{"cat": 3, "dog": 1}, {"dog": 5}]
    assert plan.image_count == 4
    assert not filled.result.shortfalls and not own.result.shortfalls


async def test_counts_of_nothing_that_can_be_made_are_refused(folders):
    root, train, _ = folders
    cases = [
        ({"class_counts": {"cow": 5}}, "class_counts", "'cow', which datasets/pets has not"),
        (
            {"class_counts": {"dog": 5}, "class_names": ["cat"]},
            "class_counts",
            "'dog', which class_names has not",
        ),
        ({"class_counts": {"cat": 0, "dog": 0}}, "class_counts", "0 images of every class"),
        ({"images_per_class": 3, "fill_up": True}, "images_per_class", "nothing to fill up"),
        ({"class_counts": {"cat": -1}}, "class_counts", ""),
    ]
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        for fields, field, words in cases:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await system.start(**fields)
            error = from_rpc_error(caught.value)
            assert error.code.name == "INVALID_ARGUMENT" and words in error.message
            assert error.field.startswith(f"augmentation.{field}")


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
