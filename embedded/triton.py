"""The generator's engine in a Triton server on this machine, where VARIEGATE_ENGINE says so."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from generator.settings import GeneratorSettings
from servicekit.errors import Precondition

ENGINE_KEY = "VARIEGATE_ENGINE"
_ENGINES = ("embedded", "triton")


async def place_engine(
    settings: GeneratorSettings, state: Path, store: str, exit_stack: AsyncExitStack
) -> GeneratorSettings:
    """Returns the settings with which the generator finds its engine.

    By default that is its own process. With VARIEGATE_ENGINE=triton a Triton server is started
    first, and ended with `exit_stack`. Raises Precondition if Triton is not installed.
    """
    engine = os.environ.get(ENGINE_KEY) or _ENGINES[0]
    if engine not in _ENGINES:
        raise Precondition(
            f"{ENGINE_KEY} is {engine!r}; use {' or '.join(_ENGINES)}",
            subject=ENGINE_KEY,
            reason="BAD_ENGINE",
        )
    if engine == _ENGINES[0]:
        return settings
    from generator.triton.launcher import LocalTriton

    server = LocalTriton(state / "triton", settings, store)
    await asyncio.to_thread(server.start)
    exit_stack.push_async_callback(asyncio.to_thread, server.stop)
    return server.settings
