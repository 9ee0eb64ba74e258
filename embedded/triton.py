"""The generator's engine in a Triton server on this machine, where VARIEGATE_ENGINE says so."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from embedded.choice import chosen
from embedded.keeper import Keep, Keeper
from generator.settings import GeneratorSettings

ENGINE_KEY = "VARIEGATE_ENGINE"
# For a collector that takes OTLP over HTTP elsewhere than on port 4318 of its machine.
TRACES_KEY = "VARIEGATE_TRITON_TRACES"


async def place_engine(
    settings: GeneratorSettings,
    state: Path,
    store: str,
    exit_stack: AsyncExitStack,
    traces: str = "",
) -> tuple[GeneratorSettings, Keep]:
    """Returns the settings with which the generator finds its engine, and what keeps that alive.

    By default the engine is in its own process. With VARIEGATE_ENGINE=triton a Triton server is
    started first, started anew when the service that the second result made finds it dead, and
    ended with `exit_stack`. VARIEGATE_TRITON_TRACES says where it sends its part of traces, in
    place of `traces`. Raises Precondition if Triton is not installed.
    """
    if chosen(ENGINE_KEY, ("embedded", "triton")) == "embedded":
        return settings, lambda service: service
    from generator.triton.launcher import LocalTriton

    traces = os.environ.get(TRACES_KEY, traces) if traces else ""
    server = LocalTriton(state / "triton", settings, store, traces=traces)
    await asyncio.to_thread(server.start)
    keeper = Keeper(server)
    exit_stack.push_async_callback(asyncio.to_thread, keeper.close)
    return server.settings, keeper.watch
