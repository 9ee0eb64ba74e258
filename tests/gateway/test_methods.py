"""Methods: what each drafts, from which material, and what its parameters may be."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.mixing import CaptionMix
from gateway.methods.base import (
    ConcatImage,
    EmbeddingMix,
    MixedText,
    PixelMix,
    PromptText,
    StartImage,
)
from gateway.methods.mixing import mvc
from gateway.methods.registry import all_methods, method_of, parse_parameters
from servicekit.errors import InvalidArgument
from tests.gateway.planning import items_of, material, plan_of

CONDITIONED = [method.id for method in all_methods().values() if method.needs.image_embeddings]


def test_every_method_says_what_it_does_where_it_is_from_and_in_which_range_its_numbers_are():
    for method in all_methods().values():
        assert method.description.endswith(".") and method.source
        for parameter in method.parameters:
            assert parameter.parse(str(parameter.default)) == parameter.default
            if not isinstance(parameter.default, str):
                assert f"in [{parameter.minimum:g}, {parameter.maximum:g}]" in parameter.description


def test_an_unknown_method_is_named_with_the_known_ones():
    with pytest.raises(InvalidArgument, match=r"'mvcc'; known are boomerang, .*simple"):
        method_of("mvcc")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("coarse", "1", "no parameter 'coarse'; known are coarse_steps, fine_steps"),
        ("coarse_steps", "-1", r"coarse_steps is '-1'; it must be an integer in \[0, 1000\]"),
        ("coarse_steps", "2.5", "must be an integer"),
        ("fine_steps", "nan", "must be an integer"),
    ],
)
def test_a_bad_parameter_is_named_with_its_range(name, value, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse_parameters(method_of("mvc"), {name: value})
    assert caught.value.field == f"augmentation.parameters.{name}"


def test_not_a_number_is_out_of_every_range():
    with pytest.raises(InvalidArgument, match="dropout"):
        parse_parameters(method_of("cond_embed_cutmix_dropout"), {"dropout": "nan"})


def test_parents_come_from_the_items_own_class():
    for method_id in ("mvc", "boomerang", *CONDITIONED):
        for item in items_of(plan_of(method_id)):
            assert item.parents
            assert all(p.startswith(f"item-{item.slot.label}-") for p in item.parents)


def test_mvc_mixes_and_names_the_captions_it_used():
    for item in items_of(plan_of()):
        assert isinstance(item.text, MixedText) and isinstance(item.image, ConcatImage)
        mix = item.lineage["mix"]
        used = {mix["start"], *(e[0] for e in mix["coarse"]), *(e[0] for e in mix["fine"])}
        assert set(mix["captions"]) == {str(number) for number in used}
        embeddings = np.random.default_rng(0).standard_normal((3, 8, 6)).astype(np.float32)
        again = mvc.draw(np.array([item.slot.seed], np.uint64), caption_count=3, shape=(8, 6))
        drawn, text = mvc.describe(again)[0], item.text
        all_captions = material(item.slot.label).captions
        assert drawn == {name: mix[name] for name in drawn}
        captions = tuple(all_captions[number] for number in sorted(used))
        assert text.captions == captions and len(captions) <= 11
        whole = CaptionMix(all_captions, drawn["start"], drawn["coarse"], drawn["fine"])
        few = CaptionMix(text.captions, text.start, text.coarse, text.fine)
        matrices = list(torch.from_numpy(embeddings))
        assert torch.equal(
            few.of([matrices[number] for number in sorted(used)]), whole.of(matrices)
        )


def test_a_class_with_one_image_works_and_says_so():
    materials = {"class_0": material(0, count=1)}
    for item in items_of(plan_of("mvc"), materials):
        assert item.lineage["single_caption"] is True
        assert item.lineage["mix"]["coarse"] == []
    for method_id in CONDITIONED:
        for item in items_of(plan_of(method_id), materials):
            assert item.lineage.get("single_image", False) is ("mix" in method_id)
            assert len(item.parents) == 1


def test_cutmix_takes_two_different_images_of_the_class():
    for item in items_of(plan_of("cond_embed_cutmix_dropout")):
        assert isinstance(item.image, EmbeddingMix)
        assert len(set(item.parents)) == 2
        assert item.prompt == f"a photo of a class {item.slot.label}"
        assert item.lineage["dropout"] == 0.4
        start, stop = item.lineage["cut"]
        assert 0 <= start < stop <= 16


def test_the_text_beside_an_embedding_is_a_template_and_its_default_changes_no_id():
    plain, long_tail = (
        items_of(plan_of("cond_image", parameters=parameters))
        for parameters in ({}, {"prompt": "{c}"})
    )
    assert {item.prompt for item in long_tail} == {f"class {label}" for label in range(3)}
    assert {item.item_id for item in plain}.isdisjoint(item.item_id for item in long_tail)
    same = items_of(plan_of("cond_image", parameters={"prompt": "a photo of a {c}"}))
    assert [item.item_id for item in same] == [item.item_id for item in plain]


def test_mixup_mixes_two_different_images_of_the_class_in_shares_that_differ():
    items = items_of(plan_of("cond_mixup"))
    for item in items:
        assert isinstance(item.image, PixelMix)
        assert len(set(item.parents)) == len(set(item.image.image_uris)) == 2
        assert item.lineage["lambda"] == item.image.mix.share
    assert len({item.image.mix.share for item in items}) == len(items)


def test_the_ten_conditionings_are_what_their_names_say():
    assert len(CONDITIONED) == 10
    for name in CONDITIONED:
        parts = set(name.split("_")) - {"cond"}
        for item in items_of(plan_of(name)):
            image, mixes = item.image, {"mixup", "cutmix"} & parts
            assert len(set(item.parents)) == len(set(image.image_uris)) == 1 + bool(mixes)
            assert isinstance(image, EmbeddingMix if "embed" in parts or not mixes else PixelMix)
            blend = image.mix if isinstance(image, PixelMix) else image.blend
            assert mixes == (
                {type(blend).__name__.lower().removeprefix("embed")} if blend else set()
            )
            assert bool(image.dropout) == ("dropout" in parts) == ("dropout" in item.lineage)


def test_boomerang_starts_at_an_image_of_the_class_without_any_text():
    items = items_of(plan_of("boomerang", parameters={"strength": "0.25"}, images_per_class=9))
    for item in items:
        assert item.text is None and item.prompt == ""
        assert isinstance(item.image, StartImage) and item.image.strength == 0.25
        assert item.lineage["strength"] == 0.25
    assert len({item.parents for item in items}) == 9


def test_sariyildiz_gives_every_kind_its_equal_share_also_where_images_are_replaced():
    kinds = 6
    prompts = tuple(f"{number % kinds}: {number}" for number in range(20))
    drawn = replace(material(0), prompts=prompts)
    plan = plan_of("sariyildiz", images_per_class=600)

    def kind(index, attempt):
        slot = plan.slot("class_0", 0, index, attempt)
        return plan.method.draft(slot, drawn, plan.values).prompt.split(":")[0]

    first = Counter(kind(index, 0) for index in range(600))
    assert first == dict.fromkeys(map(str, range(kinds)), 100)
    assert all(kind(index, attempt) == kind(index, 0) for index in range(40) for attempt in (1, 5))
    other = plan.method.draft(plan.slot("class_0", 0, 0, 1), drawn, plan.values).prompt
    assert other == "0: 6", "another attempt has another prompt of the kind"


def test_prompt_methods_take_the_prompters_words():
    items = items_of(plan_of("simple"))
    assert {item.prompt for item in items} == {"a photo of it", "a painting of it"}
    assert all(item.text == PromptText(item.prompt) for item in items)
    assert all(item.lineage["prompt_strategy"] == "simple" for item in items)
