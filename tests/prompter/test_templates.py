import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prompter.strategies.clip_templates import TEMPLATES
from prompter.strategies.registry import all_strategies
from prompter.subject import find_subject
from prompter.wordnet import WordNet

WORDNET = WordNet()
STRATEGIES = all_strategies()
TEMPLATED = [s.id for s in STRATEGIES.values() if not s.needs_llm]


def texts(strategy, class_name, count, seed=0, sense=""):
    subject = find_subject(WORDNET, class_name, sense)

    async def written():
        return [p.text async for p in STRATEGIES[strategy].write(subject, seed, count, None)]

    return asyncio.run(written())


def test_simple_names_every_lemma():
    assert texts("simple", "dog", 2) == ["A photo of dog, domestic dog, Canis familiaris."] * 2
    assert texts("simple", "fire_truck", 1) == ["A photo of fire engine, fire truck."]
    assert texts("simple", "zorblax_9", 1) == ["A photo of zorblax 9."]


def test_simple_no_ws_removes_white_space_inside_names_only():
    assert texts("simple_no_ws", "dog", 1) == ["A photo of dog, domesticdog, Canisfamiliaris."]


def test_the_sense_that_was_asked_for_is_used():
    assert texts("simple", "drumstick", 1, sense="drumstick.n.02") == ["A photo of drumstick."]
    assert "wading bird" in texts("sariyildiz", "crane", 6, sense="crane.n.05")[4]


def test_clip_templates_draws_all_eighty_with_replacement():
    assert len(set(TEMPLATES)) == 80
    drawn = Counter(texts("clip_templates", "frog", 2000))
    assert len(drawn) == 80
    assert max(drawn.values()) > 1
    assert all("frog, toad, toadfrog" in text for text in drawn)


def test_sariyildiz_gives_every_category_its_equal_share():
    written = texts("sariyildiz", "fire_truck", 60)
    kind = "fire engine, fire truck, truck"
    assert written[0::6] == ["fire engine, fire truck"] * 10
    assert written[1::6] == [kind] * 10
    assert written[2::6] == [f"multiple {kind}"] * 10
    assert written[3::6] == [f"multiple different {kind}"] * 10
    assert all("carry firemen" in text for text in written[4::6])
    assert all(text.startswith(f"{kind} ") for text in written[5::6])
    assert len(set(written[5::6])) > 5


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    strategy=st.sampled_from(TEMPLATED),
    class_name=st.sampled_from(["dog", "fire_truck", "Zorblax", "apples", "automobile"]),
    seed=st.integers(0, 2**64 - 1),
    count=st.integers(1, 30),
)
def test_prompt_i_depends_on_class_strategy_seed_and_i_alone(strategy, class_name, seed, count):
    longer = texts(strategy, class_name, count + 9, seed)
    assert texts(strategy, class_name, count, seed) == longer[:count]
    subject = find_subject(WORDNET, class_name)
    assert all(subject.is_named_in(text) for text in longer)


@pytest.mark.parametrize("strategy", ["clip_templates", "sariyildiz"])
def test_another_seed_writes_other_prompts(strategy):
    assert texts(strategy, "dog", 30, seed=1) != texts(strategy, "dog", 30, seed=2)


def test_every_strategy_says_where_it_comes_from():
    assert list(STRATEGIES) == sorted(STRATEGIES)
    assert {"simple", "clip_templates", "contextual"} <= set(STRATEGIES)
    assert all(s.description.endswith(".") and s.source for s in STRATEGIES.values())


def test_sariyildiz_says_which_prompts_lack_what_wordnet_does_not_know():
    def lacking(class_name):
        subject = find_subject(WORDNET, class_name)

        async def written():
            return [p async for p in STRATEGIES["sariyildiz"].write(subject, 0, 12, None)]

        prompts = asyncio.run(written())
        assert all(prompt.text for prompt in prompts)
        return [prompt.fallback for prompt in prompts]

    assert lacking("fire_truck") == [False] * 12
    assert lacking("zorblax") == [False, *[True] * 5] * 2
