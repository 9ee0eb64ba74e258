"""Puts the generator together."""

import asyncio
import dataclasses
from collections.abc import Callable

import grpc
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.backend import Backend
from generator.engine.errors import EngineError
from generator.errors import translate
from generator.service import GeneratorService
from generator.settings import GeneratorSettings
from servicekit.errors import Precondition
from servicekit.server import Service
from servicekit.storage import ObjectStore


def create_service(
    settings: GeneratorSettings,
    store: ObjectStore,
    start: Callable[[GeneratorSettings], Backend] | None = None,
) -> Service:
    """Returns the service. Its `load` calls `start`, by default the engine in this process."""
    servicer = GeneratorService(store)

    def register(server: grpc.aio.Server) -> None:
        rpc.add_GeneratorServiceServicer_to_server(servicer, server)

    async def load() -> None:
        servicer.backend = await asyncio.to_thread(start or start_engine, settings)

    async def close() -> None:
        if servicer.backend is not None:
            await asyncio.to_thread(servicer.backend.close)

    full_name = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name
    return Service("generator", (full_name,), register, load, close)


def start_engine(settings: GeneratorSettings) -> Backend:
    """Loads the models. Raises Precondition if none of them can be used."""
    # Torch is imported here and not before, so that a bad setting is reported at once.
    from generator.engine.engine import Engine
    from generator.engine.registry import scan
    from generator.engine.settings import EngineSettings

    names = {field.name for field in dataclasses.fields(EngineSettings)}
    values = {name: getattr(settings, name) for name in names}
    try:
        registry = scan(settings.models_folder, settings.models)
        engine = Engine(registry, EngineSettings(**values))
    except EngineError as error:
        raise translate(error) from error
    if not engine.cards:
        why = "; ".join(str(error) for error in engine.registry.refused.values())
        engine.close()
        raise Precondition(
            f"no model in {settings.models_folder} can be used: {why or 'the folder has none'}",
            subject=str(settings.models_folder),
            reason="NO_MODEL",
        )
    return engine
