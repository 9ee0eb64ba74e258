"""Methods that tune, in front of a trainer that says that it has learned."""

import json

import pytest

from gateway.methods.artefacts import ArtefactKind, Learned
from gateway.methods.base import ClassMaterial, Slot
from gateway.methods.registry import method_of
from tests.gateway.system import open_system, rows_of


async def test_each_class_is_learned_once_and_found_again_whatever_the_seed_of_images(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        first = await system.augment("a1", method="textual_inversion", seed=1)
        known = dict(system.trouble.tunings)
        second = await system.augment("a2", method="textual_inversion", seed=2)
        rows = [rows_of(system.store, one.result.manifest_uri) for one in (first, second)]
    assert system.trouble.tunings == known
    assert sorted(list(one.class_names) for one in known.values()) == [["cat"], ["dog"]]
    artefacts = [{json.loads(row["lineage"])["artefacts"][0]["uri"] for row in r} for r in rows]
    assert artefacts[0] == artefacts[1] and len(artefacts[0]) == 2
    assert {row["sha256"] for row in rows[0]}.isdisjoint(row["sha256"] for row in rows[1])


async def test_two_datasets_of_the_same_images_are_two_tunings(folders):
    """The trainer takes an id for one request alone, and a request names a manifest."""
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        for name in ("pets", "again"):
            await system.import_folder(train, dataset_id=name)
            parent = f"datasets/{name}"
            done = await system.augment(parent=parent, method="mvc+tuned", seed=1)
            assert done.result.accepted_count == 6, done.error
    assert len(system.trouble.tunings) == 2


async def test_a_word_is_learned_in_templates_and_stands_in_prompts(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        made = await system.augment(method="textual_inversion", class_names=["dog"])
        rows = rows_of(system.store, made.result.manifest_uri)
    [tuning] = system.trouble.tunings.values()
    assert tuning.method == "textual_inversion" and tuning.model == "text"
    assert tuning.templates and all("{}" in template for template in tuning.templates)
    assert all("<dog>" in row["prompt"] and "{}" not in row["prompt"] for row in rows)
    assert any("fell from 1.0000 to 0.5000" in notice for notice in made.result.notices)


async def test_only_declared_images_are_learned_from_and_others_make_another_artefact(folders):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train)
        ids = [row["item_id"] for row in rows_of(system.store, dataset.manifest_uri)]
        await system.augment("a1", method="ft_conditioning")
        await system.augment("a2", method="ft_conditioning", train_item_ids=ids[:-1])
    assert len(system.trouble.tunings) == 4
    assert sorted(len(one.train_item_ids) for one in system.trouble.tunings.values()) == [
        0, 0, len(ids) - 1, len(ids) - 1
    ]  # fmt: skip


async def test_a_class_of_which_nothing_can_be_learned_is_a_shortfall_and_the_others_are_made(
    folders,
):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        system.trouble.diverging.add("cat")
        await system.import_folder(train)
        made = await system.augment(method="ft_conditioning")
    assert made.result.accepted_count == 3
    [shortfall] = made.result.shortfalls
    assert shortfall.class_name == "cat"
    assert shortfall.reason == "nothing could be learned of it: the loss is not finite"


@pytest.mark.parametrize("method", ["lora", "mvc+tuned"])
async def test_what_is_tuned_together_is_tuned_once(folders, method):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        made = await system.augment(method=method)
        rows = rows_of(system.store, made.result.manifest_uri)
    [tuning] = system.trouble.tunings.values()
    assert list(tuning.class_names) == ["cat", "dog"]
    assert len({row["model_digest"] for row in rows}) == 1
    assert rows[0]["model_digest"] != tuning.model_digest


def test_a_cluster_is_drawn_as_often_as_it_has_images():
    method = method_of("ft_cluster_conditioning")
    counts = (30, 10)
    artefacts = tuple(
        Learned(f"store:{n}", str(n) * 64, ArtefactKind.CONDITIONING, image_count=n) for n in counts
    )
    material = ClassMaterial("cat", 0, artefacts=artefacts)
    slots = [Slot("cat", 0, n, 0, seed=n * 7919) for n in range(400)]
    drawn = [method.draft(slot, material, {}).artefacts[0].image_count for slot in slots]
    assert drawn.count(30) == pytest.approx(300, abs=40)
