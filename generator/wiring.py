"""Puts the generator together."""

import asyncio
from collections.abc import Callable

import grpc
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from generator.backend import Backend
from generator.backends import BACKENDS
from generator.service import GeneratorService
from generator.settings import GeneratorSettings
from servicekit.server import Service
from servicekit.settings import SettingsError
from servicekit.storage import ObjectStore
from servicekit.workload import Workload


def create_service(
    settings: GeneratorSettings,
    store: ObjectStore,
    start: Callable[[GeneratorSettings, ObjectStore], Backend] | None = None,
) -> Service:
    """Returns the service. Its `load` calls `start`, by default what the settings name.

    Raises SettingsError for a backend that does not exist.
    """
    if settings.backend not in BACKENDS:
        raise SettingsError(
            f"GENERATOR_BACKEND is {settings.backend!r}; use {' or '.join(BACKENDS)}"
        )
    servicer = GeneratorService(store, settings.text_artefacts_mib * 2**20)

    def register(server: grpc.aio.Server) -> None:
        rpc.add_GeneratorServiceServicer_to_server(servicer, server)

    async def load() -> None:
        begin = start or BACKENDS[settings.backend]
        servicer.backend = await asyncio.to_thread(begin, settings, store)

    async def close() -> None:
        if servicer.backend is not None:
            await asyncio.to_thread(servicer.backend.close)

    async def probe() -> bool:
        backend = servicer.backend
        return backend is not None and await asyncio.to_thread(backend.is_healthy)

    def workload() -> Workload | None:
        return servicer.backend.workload() if servicer.backend is not None else None

    full_name = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name
    names, seconds = (full_name,), settings.probe_seconds
    collectors = (servicer.images,)
    return Service("generator", names, register, load, close, probe, seconds, workload, collectors)
