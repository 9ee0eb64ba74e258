"""A vLLM that dies under the embedded system is started anew."""

import asyncio

import grpc
import pytest
from variegate.prompter.v1 import prompter_pb2 as pb
from variegate.prompter.v1 import prompter_pb2_grpc as rpc

from embedded.system import EmbeddedSystem
from embedded.vllm import PROMPTER_KEY
from tests.programs import programs_in

pytestmark = [pytest.mark.servers, pytest.mark.heavy]


def kill(folder, words):
    """Kills the one process in a folder whose program, or its arguments, say the words."""
    [victim] = [one for one, line in programs_in(folder).items() if words in " ".join(line)]
    victim.kill()
    victim.wait()


async def prompts(stub, strategy):
    request = pb.WritePromptsRequest(class_name="dog", strategy=strategy, prompt_count=2)
    return [answer.prompt async for answer in stub.WritePrompts(request, timeout=60)]


async def prompts_again(stub):
    """Asks until the language model writes, as the gateway does."""
    async with asyncio.timeout(180):
        while True:
            try:
                return await prompts(stub, "contextual")
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert len(await prompts(stub, "simple")) == 2
            await asyncio.sleep(1)


@pytest.mark.timeout(540)
async def test_a_vllm_that_was_killed_writes_again(tmp_path, monkeypatch):
    monkeypatch.setenv(PROMPTER_KEY, "vllm")
    async with (
        EmbeddedSystem(tmp_path / "state") as system,
        grpc.aio.insecure_channel(system.targets["prompter"]) as channel,
    ):
        stub = rpc.PrompterServiceStub(channel)
        for part in ("vllm.entrypoints.openai.api_server", "VLLM::EngineCore"):
            kill(tmp_path / "state", part)
            with pytest.raises(grpc.aio.AioRpcError):
                await prompts(stub, "contextual")
            assert len(await prompts_again(stub)) == 2
    log = (tmp_path / "state" / "variegate.log").read_text()
    for times in (1, 2):
        assert f"vLLM does not work and is restarted, {times} of at most 5 times" in log
