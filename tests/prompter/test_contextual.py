import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prompter.combinations import Combinations
from prompter.llm import Reply
from prompter.strategies.registry import all_strategies
from prompter.strategy import read_lines
from prompter.styles import OWN_STYLES
from prompter.subject import find_subject
from prompter.texts import are_alike, content_words, first_sentence

STRATEGIES = all_strategies()


def echo(task):
    """A model that says what it was told."""
    return f"{task.opening} {task.instruction.rpartition(': ')[2]}"


async def write(wordnet, model, count, strategy="contextual", seed=0, class_name="dog", **subject):
    found = find_subject(wordnet, class_name, **subject)
    prompts = STRATEGIES[strategy].write(found, seed, count, model)
    return [prompt async for prompt in prompts]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 2**64 - 1))
def test_all_combinations_come_once_before_any_comes_twice(lengths, seed):
    lists = [[f"{number}-{word}" for word in range(n)] for number, n in enumerate(lengths)]
    plan = Combinations(lists, random.Random(seed))
    assert len({plan[i] for i in range(min(plan.count, 3000))}) == min(plan.count, 3000)
    for number, words in enumerate(lists):
        assert {plan[i][number] for i in range(len(words))} == set(words)


async def test_prompts_name_the_class_first_and_follow_the_plan(wordnet, scripted):
    prompts = await write(wordnet, scripted(echo), 25)
    assert len({prompt.text for prompt in prompts}) == 25
    assert all(prompt.text.startswith("a photo of a dog ") for prompt in prompts)
    assert {prompt.model for prompt in prompts} == {"scripted@0"}


async def test_a_vowel_gets_an(wordnet, scripted):
    [prompt] = await write(wordnet, scripted(echo), 1, class_name="automobile")
    assert prompt.text.startswith("a photo of an automobile ")


@pytest.mark.parametrize("whole_chunks", [True, False])
async def test_prompt_i_does_not_depend_on_how_many_were_asked_for(wordnet, scripted, whole_chunks):
    def by_seed(task):
        rng = random.Random(task.seed)
        return f"{task.opening} {' '.join(rng.choices(['red', 'old', 'wet', 'big'], k=3))}"

    def model():
        return scripted(by_seed, whole_chunks=whole_chunks)

    many = await write(wordnet, model(), 60)
    for count in (1, 19, 21):
        assert await write(wordnet, model(), count) == many[:count]
    assert await write(wordnet, model(), 5, seed=1) != many[:5]


async def test_a_text_that_does_not_name_the_class_is_asked_for_twice_more_then_failed(
    wordnet, scripted
):
    model = scripted(lambda task: "a photo of a cat in a sunny garden")
    [prompt] = await write(wordnet, model, 1)
    assert (prompt.text, prompt.problem) == ("", "it does not name 'dog'")
    assert len({task.seed for task in model.tasks}) == len(model.tasks) == 3
    assert [task.problem for task in model.tasks] == ["", prompt.problem, prompt.problem]
    assert model.tasks[1].refused == "a photo of a cat in a sunny garden"


async def test_a_text_that_names_another_class_is_asked_for_again(wordnet, scripted):
    model = scripted(lambda task: f"{task.opening} chasing two cats in a sunny garden")
    [prompt] = await write(wordnet, model, 1, others=("cat", "dog", "fire_truck"))
    assert prompt.problem == "it names 'cat', which is another class"
    [fine] = await write(wordnet, model, 1, others=("dog", "fire_truck"))
    assert fine.text.endswith("chasing two cats in a sunny garden")


async def test_a_class_inside_the_own_name_is_no_other_class(wordnet, scripted):
    model = scripted(lambda task: f"{task.opening}, a red fire truck on a street")
    [prompt] = await write(wordnet, model, 1, class_name="fire_truck", others=("truck",))
    assert not prompt.problem


async def test_no_scene_names_another_class(wordnet, scripted):
    model = scripted(echo)
    others = ("bird", "bicycle", "flower")
    await write(wordnet, model, 200, class_name="airplane", others=others)
    asked = " ".join(task.instruction for task in model.tasks)
    assert "beside a child" in asked and "birds overhead" not in asked and "bicycle" not in asked


async def test_a_second_reply_that_is_good_is_kept(wordnet, scripted):
    def second_time(task):
        return echo(task) if task.problem else Reply(raw="{", problem="Invalid JSON")

    prompts = await write(wordnet, scripted(second_time), 3)
    assert not any(prompt.problem for prompt in prompts)


async def test_a_text_that_says_the_same_again_is_not_taken(wordnet, scripted):
    model = scripted(lambda task: f"{task.opening} running in a sunny garden.")
    first, *rest = await write(wordnet, model, 10)
    assert first.text == "a photo of a dog running in a sunny garden"
    assert {prompt.problem for prompt in rest} == {"it says the same as an earlier one"}


async def test_a_text_that_copies_an_example_of_the_instructions_is_not_taken(wordnet, scripted):
    model = scripted(lambda task: f"{task.opening} with soft grey towers and a small felt flag")
    [prompt] = await write(wordnet, model, 1)
    assert prompt.problem == "it copies an example"


async def test_the_kind_is_told_only_of_a_sense_that_was_chosen(wordnet, scripted):
    chosen, common = scripted(echo), scripted(echo)
    await write(wordnet, chosen, 1, class_name="crane", sense_name="crane.n.05")
    await write(wordnet, common, 1, class_name="crane")
    assert "a crane (wading bird):" in chosen.tasks[0].instruction
    assert "(" not in common.tasks[0].instruction


async def test_a_sense_that_the_name_would_not_be_taken_for_is_in_every_prompt(wordnet, scripted):
    bird = await write(wordnet, scripted(echo), 5, class_name="crane", sense_name="crane.n.05")
    machine = await write(wordnet, scripted(echo), 5, class_name="crane", sense_name="crane.n.04")
    toy = await write(wordnet, scripted(echo), 5, class_name="crane", meaning="folded paper bird")
    assert all("a photo of a crane, a wading bird" in prompt.text for prompt in bird)
    assert all(prompt.text.startswith("a photo of a crane ") for prompt in machine)
    assert all("a crane, a folded paper bird" in prompt.text for prompt in toy)


async def test_styles_take_turns_and_are_said_beside_the_prompt(wordnet, scripted):
    prompts = await write(wordnet, scripted(by_number()), len(OWN_STYLES), strategy="stylized")
    assert {prompt.style for prompt in prompts} == set(OWN_STYLES)
    assert all(f"{prompt.style} of a dog" in prompt.text for prompt in prompts)


async def test_both_diversifications_vary_scene_and_style(wordnet, scripted):
    model = scripted(echo)
    prompts = await write(wordnet, model, 122, strategy="contextual+stylized")
    assert {prompt.style for prompt in prompts} == set(OWN_STYLES)
    places = read_lines("places.txt")
    assert all(any(place in task.instruction for task in model.tasks) for place in places)


async def test_styles_of_the_model_are_used_once_they_are_styles(wordnet, scripted):
    named = ("a sand sculpture", "neon sign", "photo album", "dog biscuit", "red", "tin toy")

    def model(task):
        return Reply(named, "[]") if task.most else by_number()(task)

    listing = scripted(model, lists=True)
    prompts = await write(wordnet, listing, 60, strategy="stylized")
    ours = {prompt.style for prompt in prompts} - set(OWN_STYLES)
    assert ours == {"sand sculpture", "neon sign", "tin toy"}


def by_number():
    """A model whose texts have nothing in common."""
    return lambda task: f"{task.opening} with {task.seed % 10**6} dots and {task.seed % 997} lines"


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
async def test_marks_in_a_class_name_are_kept(wordnet, scripted, class_name):
    prompts = await write(wordnet, scripted(echo), 5, class_name=class_name)
    assert all(prompt.text.startswith(f"a photo of a {class_name} ") for prompt in prompts)
    assert not any(prompt.problem for prompt in prompts)


def test_likeness_looks_at_words_that_carry_meaning():
    one, other = (content_words(t) for t in ("A dog on the green grass", "a dog in green grass"))
    assert are_alike(one, other)
    assert not are_alike(one, content_words("a dog on a sandy beach"))
