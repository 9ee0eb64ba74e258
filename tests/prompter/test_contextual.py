import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prompter.scenes import ScenePlan
from prompter.strategies.contextual import CHUNK, STRATEGY
from prompter.subject import find_subject
from prompter.texts import are_alike, content_words, first_sentence


def echo(task):
    """A model that says what it was told."""
    return f"{task.opening} {task.instruction.rpartition(': ')[2]}"


def write(wordnet, model, count, seed=0, class_name="dog", sense=""):
    return list(STRATEGY.write(find_subject(wordnet, class_name, sense), seed, count, model))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**64 - 1))
def test_no_scene_comes_twice_and_no_place_before_all_came_once(seed):
    plan = ScenePlan(random.Random(seed))
    assert plan.scene_count >= 10_000
    assert len({plan[i] for i in range(500)}) == 500
    assert len({plan[i].place for i in range(61)}) == 61
    assert len({plan[i].light for i in range(11)}) == 11


def test_all_scenes_differ():
    plan = ScenePlan(random.Random(1))
    assert len({plan[i] for i in range(plan.scene_count)}) == plan.scene_count


def test_prompts_name_the_class_first_and_follow_the_plan(wordnet, scripted):
    prompts = write(wordnet, scripted(echo), 25)
    assert len({prompt.text for prompt in prompts}) == 25
    assert all(prompt.text.startswith("a photo of a dog ") for prompt in prompts)
    assert {prompt.model for prompt in prompts} == {"scripted@0"}


def test_a_vowel_gets_an(wordnet, scripted):
    [prompt] = write(wordnet, scripted(echo), 1, class_name="automobile")
    assert prompt.text.startswith("a photo of an automobile ")


def test_prompt_i_does_not_depend_on_how_many_were_asked_for(wordnet, scripted):
    def by_seed(task):
        rng = random.Random(task.seed)
        return f"{task.opening} {' '.join(rng.choices(['red', 'old', 'wet', 'big'], k=3))}"

    many = write(wordnet, scripted(by_seed), 3 * CHUNK)
    for count in (1, CHUNK - 1, CHUNK + 1):
        assert write(wordnet, scripted(by_seed), count) == many[:count]
    assert write(wordnet, scripted(by_seed), 5, seed=1) != many[:5]


def test_a_text_that_does_not_name_the_class_is_drawn_anew_twice_then_replaced(wordnet, scripted):
    model = scripted(lambda task: "a photo of a cat in a sunny garden")
    [prompt] = write(wordnet, model, 1)
    assert prompt.model == ""
    assert prompt.text.startswith("a photo of a dog ")
    assert len(model.tasks) == CHUNK + 2 * CHUNK
    assert len({task.seed for task in model.tasks}) == len(model.tasks)


def test_a_second_draw_that_is_good_is_kept(wordnet, scripted):
    seen = set()

    def second_time(task):
        if task.instruction in seen:
            return echo(task)
        seen.add(task.instruction)
        return "nothing"

    prompts = write(wordnet, scripted(second_time), 3)
    assert {prompt.model for prompt in prompts} == {"scripted@0"}


def test_a_text_that_says_the_same_again_is_dropped(wordnet, scripted):
    model = scripted(lambda task: f"{task.opening} running in a sunny garden.")
    first, *rest = write(wordnet, model, 10)
    assert first.text == "a photo of a dog running in a sunny garden"
    assert all(prompt.model == "" for prompt in rest)
    assert len({prompt.text for prompt in rest}) == 9


def test_the_kind_is_told_only_of_a_sense_that_was_chosen(wordnet, scripted):
    chosen, common = scripted(echo), scripted(echo)
    write(wordnet, chosen, 1, class_name="crane", sense="crane.n.05")
    write(wordnet, common, 1, class_name="crane")
    assert "a crane (wading bird):" in chosen.tasks[0].instruction
    assert "(" not in common.tasks[0].instruction


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a photo of a dog on grass. It is nice.", "a photo of a dog on grass"),
        ('"a photo of a dog on grass."', "a photo of a dog on grass"),
        ("a photo of a dog on grass, with a", "a photo of a dog on grass"),
        ("a photo of a dog in the middle of the", "a photo of a dog in the middle"),
        ("a photo of a dog (canine) on grass", "a photo of a dog on grass"),
        ("a photo of a dog on grass\nAnd more", "a photo of a dog on grass"),
        ("", ""),
    ],
)
def test_texts_are_cut_where_a_sentence_ends(raw, clean):
    assert first_sentence(raw) == clean


@pytest.mark.parametrize("class_name", ["St. Bernard", "crane (bird)", "001.Albatross"])
def test_marks_in_a_class_name_are_kept(wordnet, scripted, class_name):
    prompts = write(wordnet, scripted(echo), 5, class_name=class_name)
    assert all(prompt.text.startswith(f"a photo of a {class_name} ") for prompt in prompts)
    assert all(prompt.model for prompt in prompts)


def test_likeness_looks_at_words_that_carry_meaning():
    one, other = (content_words(t) for t in ("A dog on the green grass", "a dog in green grass"))
    assert are_alike(one, other)
    assert not are_alike(one, content_words("a dog on a sandy beach"))
