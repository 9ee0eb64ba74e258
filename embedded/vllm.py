"""The prompter's language model in a vLLM server, where VARIEGATE_PROMPTER says so."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from embedded.choice import chosen
from embedded.keeper import Keep, Keeper
from prompter.settings import PrompterSettings

PROMPTER_KEY = "VARIEGATE_PROMPTER"


async def place_language_model(
    settings: PrompterSettings, state: Path, exit_stack: AsyncExitStack
) -> tuple[PrompterSettings, Keep]:
    """Returns the settings with which the prompter finds its language model, and what keeps that
    alive.

    By default that is its own process. With VARIEGATE_PROMPTER=vllm a vLLM server is started
    first, started anew while the service that the second result made runs, and ended with
    `exit_stack`. Raises Precondition if vLLM is not installed.
    """
    if chosen(PROMPTER_KEY, ("embedded", "vllm")) == "embedded":
        return settings, lambda service: service
    from prompter.llms import packaged
    from prompter.vllm.launcher import LocalVllm

    folder, _ = await asyncio.to_thread(packaged.export)
    server = LocalVllm(folder, packaged.NAME, state / "vllm.log")
    keeper = Keeper(server)
    # Stopping also ends the wait for a server that is just starting.
    exit_stack.push_async_callback(asyncio.to_thread, keeper.close)
    await asyncio.to_thread(server.start)

    async def revive() -> bool:
        await keeper.check(lambda: asyncio.to_thread(server.is_well))
        return True  # the prompter's health does not depend on it: templates need no model

    return replace(settings, llm=server.setting), lambda service: replace(service, probe=revive)
