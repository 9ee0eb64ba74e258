"""Against a small HTTP server in vLLM's place, which answers what vLLM never should."""

import json
import time

import pytest
from variegate.prompter.v1 import prompter_pb2 as pb

from prompter.guides import PICTURES, STYLES
from prompter.llm import Task
from prompter.llms import find_language_model
from servicekit.errors import DeadlineExceeded, Exhausted, Precondition, Unavailable
from tests.prompter.conftest import completion

TASK = Task("Describe a photo of a dog: on a beach.", 7, PICTURES, opening="a photo of a dog")
GOOD = {"opening": "a photo of a dog", "rest": "running on a sandy beach"}


def obedient(body):
    return completion(json.dumps({**GOOD, "rest": f"running on beach {body['seed']}"}))


async def complete(url, tasks=(TASK,), deadline=None, timeout_seconds=5.0):
    model = find_language_model(f"{url}#small-model", timeout_seconds=timeout_seconds).open()
    try:
        return await model.complete(list(tasks), deadline)
    finally:
        await model.close()


async def test_each_text_is_asked_for_with_its_own_seed_and_a_schema(http_model):
    tasks = [Task("Describe.", i, PICTURES, opening="a photo of a dog") for i in range(40)]
    with http_model(obedient) as server:
        replies = await complete(server.url, tasks)
    expected = [(f"a photo of a dog running on beach {i}",) for i in range(40)]
    assert [reply.texts for reply in replies] == expected
    schema = server.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["opening"]["const"] == "a photo of a dog"
    assert schema["additionalProperties"] is False
    assert {body["model"] for body in server.bodies} == {"small-model"}


async def test_what_tasks_share_comes_first(http_model):
    tasks = [Task(f"Describe scene {i}.", i, PICTURES, opening="a photo of a dog") for i in (1, 2)]
    with http_model(obedient) as server:
        await complete(server.url, tasks)
    first, second = (body["messages"] for body in server.bodies)
    assert first[:-1] == second[:-1] and first[-1] != second[-1]


async def test_a_list_is_a_list_of_the_schema(http_model):
    task = Task("List styles.", 1, STYLES, most=2)
    with http_model(completion('{"texts": ["oil painting", "plush toy"]}')) as server:
        [reply] = await complete(server.url, [task])
    assert reply.texts == ("oil painting", "plush toy")
    with http_model(completion('{"texts": ["one", "two", "three"]}')) as server:
        [reply] = await complete(server.url, [task])
    assert "at most 2 items" in reply.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a photo of a dog on a beach", "Invalid JSON"),
        ('{"opening": "a photo of a dog", "rest": "running on', "Invalid JSON"),
        (json.dumps({**GOOD, "opening": "a photo of a cat"}), "opening"),
        (json.dumps({**GOOD, "rest": "runs"}), "at least 10 characters"),
        (json.dumps({**GOOD, "rest": 5}), "valid string"),
        (json.dumps({**GOOD, "more": "x"}), "Extra inputs"),
        ("", "Invalid JSON"),
    ],
)
async def test_a_reply_outside_the_schema_has_a_problem_and_no_text(http_model, content, problem):
    with http_model(completion(content)) as server:
        [reply] = await complete(server.url)
    assert problem in reply.problem
    assert (reply.texts, reply.raw) == ((), content)


async def test_the_next_question_says_what_was_wrong_with_the_last_reply(http_model):
    task = Task("Describe.", 1, PICTURES, "a photo of a dog", refused="nonsense", problem="no JSON")
    with http_model(obedient) as server:
        await complete(server.url, [task])
    *_, refused, again = server.bodies[0]["messages"]
    assert refused == {"role": "assistant", "content": "nonsense"}
    assert "no JSON" in again["content"] and "Describe." in again["content"]


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((200, b"<html>Welcome to nginx</html>"), Unavailable, "a chat completion: "),
        ((200, b'{"hello": "world"}'), Unavailable, "a chat completion: "),
        ((200, b"[]"), Unavailable, "a chat completion: "),
        ((200, b""), Unavailable, "a chat completion: "),
        ((200, b'{"choices": []}'), Unavailable, "a chat completion: "),
        ((503, b"{}"), Unavailable, "503"),
        ((429, b"{}"), Exhausted, "429"),
        ((404, b'{"error": {"message": "no model m"}}'), Precondition, "PROMPTER_LLM=http"),
    ],
)
async def test_a_server_that_answers_anything_else_is_an_error(http_model, answer, error, text):
    with http_model(answer) as server, pytest.raises(error, match=text) as caught:
        await complete(server.url)
    assert server.url in caught.value.message
    assert len(server.bodies) == 1  # asking again is the caller's decision


async def test_a_server_that_is_down_is_named():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9.* cannot be reached"):
        await complete("http://127.0.0.1:9/v1")


async def test_a_slow_server_is_not_waited_for_past_its_limit_or_the_deadline(http_model):
    with http_model(obedient, pause=3) as server:
        for error, limits in (
            (Unavailable, {"timeout_seconds": 0.5}),
            (DeadlineExceeded, {"deadline": time.monotonic() + 1}),
        ):
            started = time.monotonic()
            with pytest.raises(error, match="did not answer within") as caught:
                await complete(server.url, **limits)
            assert caught.value.reason == "LLM_SLOW"
            assert time.monotonic() - started < 2


async def test_the_first_failure_stops_the_other_questions(http_model):
    with http_model((503, b"{}"), pause=0.2) as server:
        with pytest.raises(Unavailable):
            await complete(server.url, [TASK] * 100)
        time.sleep(0.5)
    assert len(server.bodies) < 70


async def written(stub, **fields):
    request = pb.WritePromptsRequest(
        **{"class_name": "dog", "strategy": "contextual", "prompt_count": 3, **fields}
    )
    return [answer async for answer in stub.WritePrompts(request, timeout=20)]


async def test_a_prompt_that_cannot_be_written_is_reported_and_the_others_come(
    http_model, open_stub
):
    def first_scene_fails(body):
        asked = body["messages"][-1]["content"]
        scenes.setdefault(asked.rpartition("Describe")[2], len(scenes))
        number = scenes[asked.rpartition("Describe")[2]]
        rest = f"with a cat, number {number}" if number == 0 else f"on red hill number {number}"
        return completion(json.dumps({**GOOD, "rest": rest}))

    scenes = {}
    with http_model(first_scene_fails) as server:
        async with open_stub(llm=f"{server.url}#m") as stub:
            answers = await written(stub, other_class_names=["cat", "dog"])
    assert [answer.index for answer in answers] == [0, 1, 2]
    [failed] = [answer for answer in answers if answer.HasField("error")]
    assert failed.prompt == "" and "it names 'cat', which is another class" in failed.error.message
    assert all("hill" in answer.prompt for answer in answers if answer is not failed)
    assert len(server.bodies) == 3 + 2  # asked again twice
    assert "another class" in server.bodies[-1]["messages"][-1]["content"]


async def test_a_slow_server_is_an_error_before_the_callers_deadline(http_model, open_stub, fails):
    with http_model(obedient, pause=30) as server:
        async with open_stub(llm=f"{server.url}#m") as stub:
            request = pb.WritePromptsRequest(
                class_name="dog", strategy="contextual", prompt_count=3
            )
            error = await fails(stub.WritePrompts(request, timeout=5))
            assert (error.code.name, error.reason) == ("DEADLINE_EXCEEDED", "LLM_SLOW")
            assert server.url in error.message
            # Nobody waits behind what was given up.
            templates = await written(stub, strategy="simple")
    assert len(templates) == 3


async def test_senses_of_a_model_that_is_down_are_an_error_only_if_asked_for(open_stub, fails):
    async with open_stub(llm="http://127.0.0.1:9/v1#m") as stub:
        request = pb.DescribeSensesRequest(class_name="crane")
        assert len((await stub.DescribeSenses(request, timeout=20)).senses) == 5
        request.include_llm = True
        error = await fails(stub.DescribeSenses(request, timeout=20))
    assert (error.code.name, error.reason) == ("UNAVAILABLE", "LLM_UNREACHABLE")
