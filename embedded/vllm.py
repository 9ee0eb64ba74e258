"""The prompter's language model in a vLLM server, where VARIEGATE_PROMPTER says so."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from prompter.settings import PrompterSettings
from servicekit.errors import Precondition

PROMPTER_KEY = "VARIEGATE_PROMPTER"
_PLACES = ("embedded", "vllm")


async def place_language_model(
    settings: PrompterSettings, state: Path, exit_stack: AsyncExitStack
) -> PrompterSettings:
    """Returns the settings with which the prompter finds its language model.

    By default that is its own process. With VARIEGATE_PROMPTER=vllm a vLLM server is started
    first, and ended with `exit_stack`. Raises Precondition if vLLM is not installed.
    """
    place = os.environ.get(PROMPTER_KEY) or _PLACES[0]
    if place not in _PLACES:
        raise Precondition(
            f"{PROMPTER_KEY} is {place!r}; use {' or '.join(_PLACES)}",
            subject=PROMPTER_KEY,
            reason="BAD_PROMPTER",
        )
    if place == _PLACES[0]:
        return settings
    from prompter.llms import packaged
    from prompter.vllm.launcher import LocalVllm

    folder, _ = await asyncio.to_thread(packaged.export)
    server = LocalVllm(folder, packaged.NAME, state / "vllm.log")
    # Stopping also ends the wait for a server that is just starting.
    exit_stack.push_async_callback(asyncio.to_thread, server.stop)
    await asyncio.to_thread(server.start)
    return replace(settings, llm=server.setting)
