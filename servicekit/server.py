"""A gRPC server process: health, reflection, readiness, and a drain on SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client.registry import Collector

from servicekit.errors import ServiceError
from servicekit.gate import Admission, admit_all, gate
from servicekit.health import NOT_SERVING, SERVING, HealthServicer
from servicekit.help import help_of
from servicekit.interceptors import GuardInterceptor
from servicekit.loading import undisturbed
from servicekit.places import port_of
from servicekit.ports import bind
from servicekit.products import multiply_alone
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError, create, load, read
from servicekit.storage import ObjectStore, check_store, open_store
from servicekit.telemetry import Metrics, configure_logging
from servicekit.tls.certificates import Certificates, watch
from servicekit.tracing import trace_calls
from servicekit.workload import Workload

_log = logging.getLogger(__name__)

# Always SERVING while the event loop turns: for liveness probes, so that loading and draining do
# not get a pod killed.
LIVENESS = "live"

# A connection this old is closed, so that clients look for new replicas; the grace is longer than
# the longest call.
_OPTIONS = [
    ("grpc.max_connection_age_ms", 5 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 60 * 60 * 1000),
    ("grpc.so_reuseport", 0),
]

S = TypeVar("S")


@dataclass(frozen=True)
class Service:
    """What a server serves. `load` makes it ready; `close` releases what it holds.

    After loading, `probe` is asked every `probe_seconds` whether the service can do its work; the
    server's health follows its answer. Without it a loaded service is healthy. `workload` is among
    the metrics; None, as before loading, has none. `collectors` are further metrics of its own.
    `admission` says who may call.
    `certificates` are those that it calls others with, if it does.
    """

    name: str
    full_names: tuple[str, ...]
    register: Callable[[grpc.aio.Server], None]
    load: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    probe: Callable[[], Awaitable[bool]] | None = None
    probe_seconds: float = 5.0
    workload: Callable[[], Workload | None] = lambda: None
    collectors: tuple[Collector, ...] = ()
    admission: Admission = admit_all
    certificates: Certificates | None = None


# A server on loopback, as in tests and on a laptop.
_PLAIN = ServerSettings()


@dataclass
class RunningServer:
    """A started server. It is ready once `loaded` has finished without an error."""

    service: Service
    port: int
    target: str
    loaded: "asyncio.Task[None]"
    metrics: Metrics
    _server: grpc.aio.Server = field(repr=False)
    _health: HealthServicer = field(repr=False)
    _health_server: grpc.aio.Server | None = field(repr=False)
    _watching: "Sequence[asyncio.Task[None]]" = field(repr=False)

    async def stop(self, grace: float | None = None) -> None:
        """Stops taking calls, waits up to `grace` seconds for those in flight, and closes."""
        tasks = (self.loaded, *self._watching)
        for task in tasks:  # Nothing says SERVING from now on.
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _show(self._health, self.service, healthy=False)
        await self._server.stop(grace)
        if self._health_server is not None:
            await self._health_server.stop(None)
        await self.service.close()


async def start(
    service: Service, address: str = "127.0.0.1:0", settings: ServerSettings = _PLAIN
) -> RunningServer:
    """Starts serving on `address` (port 0 picks a free one) and loads in the background.

    Of the settings those of TLS, the limits and the port of health matter. Raises SettingsError,
    and Precondition for a port in use.
    """
    certificates = settings.certificates()
    metrics = Metrics(service.name)
    metrics.show(service.name, service.workload, service.collectors)
    ready = asyncio.Event()
    admission = gate(settings.peers(), settings.max_calls, service.admission)
    guard = GuardInterceptor(
        service.name, metrics, ready.is_set, admission, settings.max_streamed_requests
    )
    server = grpc.aio.server(interceptors=[guard], options=[*_OPTIONS, *settings.options()])
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    service.register(server)
    names = (*service.full_names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    port = bind(server, service.name, address, certificates)
    await _show(health, service, healthy=False)
    await health.set(LIVENESS, SERVING)
    health_server = await _start_health(service.name, settings, health, metrics)
    await server.start()

    async def show(healthy: bool) -> None:
        await _show(health, service, healthy=healthy)

    async def load_then_serve() -> None:
        multiply_alone()
        await service.load()
        ready.set()
        await show(await _is_well(service))

    loaded = asyncio.create_task(load_then_serve(), name=f"load {service.name}")
    shown = [one for one in (certificates, service.certificates) if one is not None]
    metrics.show_certificates(service.name, shown)
    watching = (
        asyncio.create_task(_watch(service, loaded, show), name=f"watch {service.name}"),
        asyncio.create_task(watch(shown), name=f"watch the certificates of the {service.name}"),
    )
    target = f"{address.rpartition(':')[0]}:{port}"
    return RunningServer(
        service, port, target, loaded, metrics, server, health, health_server, watching
    )


async def _start_health(
    name: str, settings: ServerSettings, health: HealthServicer, metrics: Metrics
) -> grpc.aio.Server | None:
    """Serves health alone, in plaintext, where it has a port: the kubelet's probes speak no TLS."""
    if not settings.health_port:
        return None
    guard = GuardInterceptor(name, metrics, lambda: True)
    server = grpc.aio.server(interceptors=[guard], options=[*_OPTIONS, *settings.options()])
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    bind(server, name, f"{settings.host}:{settings.health_port}")
    await server.start()
    return server


async def _show(health: HealthServicer, service: Service, *, healthy: bool) -> None:
    """Tells everyone but liveness probes."""
    for name in ("", *service.full_names):
        await health.set(name, SERVING if healthy else NOT_SERVING)


async def _watch(
    service: Service, loaded: "asyncio.Task[None]", show: Callable[[bool], Awaitable[None]]
) -> None:
    """Keeps the health true. It ends at once if the service has no probe or did not load."""
    await asyncio.wait({loaded})
    if service.probe is None or loaded.cancelled() or loaded.exception() is not None:
        return
    while True:
        await asyncio.sleep(service.probe_seconds)
        await show(await _is_well(service))


async def _is_well(service: Service) -> bool:
    """Asks the probe. One that breaks has not found the service well, and is asked again."""
    try:
        return service.probe is None or await service.probe()
    except Exception:
        _log.exception("the probe of the %s broke", service.name)
        return False


@asynccontextmanager
async def running(
    service: Service, address: str = "127.0.0.1:0", settings: ServerSettings = _PLAIN
) -> AsyncIterator[RunningServer]:
    """Serves while the block runs, ready from its first line on."""
    server = await start(service, address, settings)
    try:
        await server.loaded
        yield server
    finally:
        await server.stop(grace=1.0)


def run(
    create_service: Callable[[S, ObjectStore], Service],
    settings: type[S],
    name: str,
    *,
    uses_store: bool = True,
    arguments: Sequence[str] | None = None,
) -> None:
    """Runs a service process until SIGTERM or SIGINT, configured by the environment.

    The keys are NAME_... for the service's own settings and SERVER_... for ServerSettings; the only
    argument, --help, lists them. What keeps it from starting is told in a sentence, with the exit
    code of the error. Without `uses_store` the store is an empty one in memory, and SERVER_STORE
    does not matter.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if set(arguments) & {"-h", "--help"}:
        print(help_of(settings, ServerSettings, name))
        return
    try:
        if arguments:
            raise SettingsError(
                f"{arguments[0]!r} is an argument, and it takes none: settings come from the "
                "environment, and --help lists them"
            )
        _run(create_service, settings, name, uses_store)
    except (SettingsError, ServiceError) as error:
        print(f"the {name} cannot start: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(
    create_service: Callable[[S, ObjectStore], Service],
    settings: type[S],
    name: str,
    uses_store: bool,
) -> None:
    # Waiting OpenMP threads would spin and starve the process's other threads; see embedded/.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    values = {"port": port_of(name), **read(ServerSettings, os.environ, "SERVER")}
    server_settings = create(ServerSettings, values, "SERVER")
    configure_logging(server_settings.log_level)
    trace_calls(name, server_settings.trace_endpoint, os.environ)
    own_settings = load(settings, os.environ, name.upper())
    _log.info("settings", extra={"fields": {"server": server_settings, name: own_settings}})
    store = open_store(server_settings.store if uses_store else "memory:")
    check_store(store)
    asyncio.run(_serve(create_service(own_settings, store), server_settings))


async def _serve(service: Service, settings: ServerSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    with undisturbed():
        server = await start(service, f"{settings.host}:{settings.port}", settings)
        if settings.metrics_port:
            server.metrics.expose(settings.metrics_port)
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait({waiting, server.loaded}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if server.loaded.done():
            server.loaded.result()
            _log.info("serving on port %d", server.port)
            await waiting
    finally:
        _log.info("draining")
        await server.stop(settings.drain_seconds)
