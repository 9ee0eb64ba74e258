"""The plan: pure, keyed by content, the same in any order."""

import json
import random
from collections import Counter
from dataclasses import replace

from gateway import plan as plan_module
from gateway.api.resources import Recipe
from gateway.augment.fitting import texts_of
from gateway.digests import canonical
from gateway.methods.artefacts import Artefact, ArtefactKind, Tuning
from gateway.methods.base import Draft, Needs, PromptText
from gateway.methods.registry import method_of, parse_parameters
from gateway.plan import Plan
from tests.gateway.planning import MATERIALS, items_of, material, plan_of

CAT = Artefact("store:learned/cat", "c" * 64, ArtefactKind.TOKENS)
DOG = Artefact("store:learned/dog", "d" * 64, ArtefactKind.TOKENS)
TUNED = Artefact("store:learned/unet", "e" * 64, ArtefactKind.UNET)


class Learned:
    """A method whose images are of what was learned for their class."""

    id, description, source, model = "learned", "Learned.", "ours", "text"
    needs = Needs(tuning=Tuning("textual_inversion"))
    parameters = ()

    def draft(self, slot, material, values):
        return Draft(prompt="<it>", text=PromptText("<it>"), artefacts=material.artefacts)


def learned_items(*artefacts):
    recipe = Recipe(method="learned", images_per_class=2, seed=7)
    plan = Plan("dataset-digest", recipe, Learned(), {}, "model-digest")
    return items_of(plan, {"class_0": replace(material(0), artefacts=artefacts)})


def test_what_was_learned_decides_over_ids_and_stands_in_the_lineage():
    found = [learned_items(), learned_items(CAT), learned_items(DOG), learned_items(CAT, TUNED)]
    assert len({item.item_id for items in found for item in items}) == 8
    assert learned_items(TUNED, CAT)[0].item_id == found[3][0].item_id
    moved = replace(CAT, uri="store:elsewhere")
    assert learned_items(moved)[0].item_id == found[1][0].item_id, "the file is the same"
    assert "artefacts" not in found[0][0].lineage
    item = found[3][0]
    assert item.artefacts == (CAT, TUNED)
    assert json.loads(canonical(item.lineage))["artefacts"] == [
        {"uri": "store:learned/cat", "sha256": "c" * 64, "kind": "TOKENS"},
        {"uri": "store:learned/unet", "sha256": "e" * 64, "kind": "UNET"},
    ]


def test_prompts_are_counted_with_the_words_that_were_learned_for_them():
    drafts = [
        (None, Draft(text=PromptText("a <it>"), artefacts=(CAT, TUNED))),
        (None, Draft(text=PromptText("a <it>"), artefacts=(DOG,))),
        (None, Draft(text=PromptText("a dog"), artefacts=(TUNED,))),
    ]
    assert texts_of(drafts) == {((CAT,), "a <it>"), ((DOG,), "a <it>"), ((), "a dog")}


def test_the_plan_is_the_same_in_any_order():
    plan = plan_of()
    slots = plan.first_slots(MATERIALS.values())
    shuffled = random.Random(1).sample(slots, len(slots))
    materials = dict(reversed(MATERIALS.items()))
    again = plan.items(shuffled, materials)
    assert [(i.item_id, i.lineage) for i in items_of(plan)] == [
        (i.item_id, i.lineage) for i in again
    ]
    assert len({item.item_id for item in items_of(plan)}) == 12


def test_more_images_leave_the_first_ones_as_they_were():
    few = items_of(plan_of())
    method = method_of("mvc")
    recipe = Recipe(method="mvc", images_per_class=9, seed=7)
    more = Plan("dataset-digest", recipe, method, parse_parameters(method, {}), "model-digest")
    assert {item.item_id for item in few} < {item.item_id for item in items_of(more)}


def test_everything_that_determines_an_image_changes_its_id():
    method, values = method_of("mvc"), parse_parameters(method_of("mvc"), {})
    base = Recipe(method="mvc", images_per_class=1, seed=7)

    def first(dataset="d", recipe=base, values=values, model="m"):
        plan = Plan(dataset, recipe, method, values, model)
        return items_of(plan)[0].item_id

    ids = [
        first(),
        first(dataset="e"),
        first(model="n"),
        first(values={**values, "coarse_steps": 3}),
        first(recipe=Recipe(method="mvc", images_per_class=1, seed=8)),
        first(recipe=Recipe(method="mvc", images_per_class=1, seed=7, steps=9)),
        first(recipe=Recipe(method="mvc", images_per_class=1, seed=7, guidance_scale=2.0)),
    ]
    assert len(set(ids)) == len(ids)


def test_another_attempt_has_another_seed_and_the_same_place():
    plan = plan_of()
    slot = plan.first_slots(MATERIALS.values())[5]
    again = plan.next_slots(MATERIALS.values(), [slot.label, slot.index], 1)[0]
    assert (again.class_name, again.index, again.attempt) == (slot.class_name, slot.index, 1)
    assert again.seed != slot.seed


def test_images_that_are_drafted_together_are_those_drafted_one_by_one(monkeypatch):
    plan = plan_of("mvc", images_per_class=5)
    slots = plan.first_slots(MATERIALS.values())
    alone = [plan.method.draft(slot, MATERIALS[slot.class_name], plan.values) for slot in slots]
    for together in (1, 3, 100):
        monkeypatch.setattr(plan_module, "_TOGETHER", together)
        assert list(plan.drafts(slots, MATERIALS)) == list(zip(slots, alone, strict=True))


def test_classes_have_numbers_of_their_own_and_keep_the_images_that_they_have_anyway():
    same = items_of(plan_of(images_per_class=4))
    plan = plan_of(images_per_class=2, class_counts={"class_0": 4, "class_2": 0})
    items = items_of(plan)
    assert Counter(item.slot.class_name for item in items) == {"class_0": 4, "class_1": 2}
    assert {item.item_id for item in items} < {item.item_id for item in same}
    slots = plan.first_slots(MATERIALS.values())
    assert [slots[number] for number in range(len(slots))] == [item.slot for item in items]


def test_classes_are_filled_up_to_a_number_by_what_they_lack():
    materials = {f"class_{label}": material(label, count) for label, count in enumerate((1, 3, 7))}
    plan = plan_of(images_per_class=5, fill_up=True)
    made = Counter(item.slot.class_name for item in items_of(plan, materials))
    assert made == {"class_0": 4, "class_1": 2}
    preview = plan_of(images_per_class=5, fill_up=True, preview_count=3)
    made = Counter(item.slot.class_name for item in items_of(preview, materials))
    assert made == {"class_0": 3, "class_1": 2}
