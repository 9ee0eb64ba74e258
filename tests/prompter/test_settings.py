"""What PROMPTER_LLM may be: the rest is refused at the start, not at the first prompt."""

import os
import subprocess
import sys

import pytest
from tests_ports import free_port
from variegate.prompter.v1 import prompter_pb2 as pb

from prompter.llms import find_language_model
from servicekit.errors import InvalidArgument
from tests.prompter.conftest import completion

PROMPT = pb.WritePromptsRequest(class_name="dog", strategy="contextual", prompt_count=1)
FORMS = (
    "use packaged, a model folder with a *.safetensors file, http://HOST:PORT/v1#MODEL (or https), "
    "or none"
)


@pytest.mark.parametrize(
    "setting",
    [
        "bogus",
        "SmolLM2-135M-Instruct",
        "",
        "tests",  # a folder without a model
        "ftp://somewhere/v1#model",
        "http://somewhere/v1",
        "http://#model",
        "http://somewhere:port/v1#model",
    ],
)
def test_a_setting_that_means_no_language_model_is_refused(setting):
    with pytest.raises(InvalidArgument) as caught:
        find_language_model(setting)
    assert caught.value.message == f"PROMPTER_LLM is {setting!r}; {FORMS}"


def test_the_service_tells_it_at_its_start(tmp_path):
    environ = {"SERVER_STORE": tmp_path.as_uri(), "SERVER_PORT": "0", "PROMPTER_LLM": "bogus"}
    done = subprocess.run(
        [sys.executable, "-m", "prompter"],
        env={**os.environ, **environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 2
    assert [line for line in said if not line.startswith("{")] == [
        f"the prompter cannot start: PROMPTER_LLM is 'bogus'; {FORMS}"
    ]


async def test_a_server_that_comes_later_is_used_when_it_is_there(http_model, open_stub, fails):
    port = free_port()
    async with open_stub(llm=f"http://127.0.0.1:{port}/v1#m") as stub:
        error = await fails(stub.WritePrompts(PROMPT, timeout=20))
        assert (error.code.name, error.reason) == ("UNAVAILABLE", "LLM_UNREACHABLE")
        reply = '{"opening": "a photo of a dog", "rest": "running on a sandy beach"}'
        with http_model(completion(reply), port=port):
            [answer] = [answer async for answer in stub.WritePrompts(PROMPT, timeout=20)]
    assert answer.prompt.endswith("on a sandy beach")


async def test_a_folder_that_holds_no_language_model_says_so(tmp_path, open_stub, fails):
    (tmp_path / "model.safetensors").write_bytes(b"a pickle, perhaps")
    async with open_stub(llm=str(tmp_path)) as stub:
        error = await fails(stub.WritePrompts(PROMPT, timeout=60))
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "LLM_BROKEN")
    assert f"{tmp_path} does not load as a language model (" in error.message
