"""The prompter's language model in a vLLM server, where VARIEGATE_PROMPTER says so."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from embedded.choice import chosen
from prompter.settings import PrompterSettings

PROMPTER_KEY = "VARIEGATE_PROMPTER"


async def place_language_model(
    settings: PrompterSettings, state: Path, exit_stack: AsyncExitStack
) -> PrompterSettings:
    """Returns the settings with which the prompter finds its language model.

    By default that is its own process. With VARIEGATE_PROMPTER=vllm a vLLM server is started
    first, and ended with `exit_stack`. Raises Precondition if vLLM is not installed.
    """
    if chosen(PROMPTER_KEY, ("embedded", "vllm")) == "embedded":
        return settings
    from prompter.llms import packaged
    from prompter.vllm.launcher import LocalVllm

    folder, _ = await asyncio.to_thread(packaged.export)
    server = LocalVllm(folder, packaged.NAME, state / "vllm.log")
    # Stopping also ends the wait for a server that is just starting.
    exit_stack.push_async_callback(asyncio.to_thread, server.stop)
    await asyncio.to_thread(server.start)
    return replace(settings, llm=server.setting)
