"""All six services in one process, on loopback: the composition root of the embedded default."""

import asyncio
import fcntl
import gc
import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from embedded.configuration import NO_CHOICES, Choices, explicit, settings_of, texts_of
from embedded.keeper import Keep
from embedded.triton import place_engine
from embedded.vllm import place_language_model
from gateway.durable.database import sqlite_url
from servicekit.collectors import http_endpoint
from servicekit.errors import Precondition
from servicekit.loading import undisturbed
from servicekit.places import HOST, SERVICES, port_of
from servicekit.server import RunningServer, Service, start
from servicekit.storage import ObjectStore, check_store, open_store
from servicekit.telemetry import JsonFormatter
from servicekit.tracing import trace_calls

# Small classifiers train faster side by side with a thread each than one by one with many, and
# their results do not depend on the number of cores then.
_RUNS = min(len(os.sched_getaffinity(0)), 4)


@dataclass(frozen=True)
class EmbeddedSettings:
    """Where the embedded system keeps its state and what it serves.

    `import_roots` are the folders that datasets may be imported from. `port_base` 0 picks free
    ports; otherwise the gateway listens on it and the others on the five ports after it. `store`
    is an object store's URL; empty means the folder "objects" of the state. `choices` are said to
    several services at once.
    `options` are settings of single services by "service.field", for tests and benchmarks.
    """

    state: Path
    import_roots: tuple[Path, ...] = ()
    port_base: int = 0
    options: Mapping[str, Any] | None = None
    store: str = ""
    choices: Choices = NO_CHOICES


class EmbeddedSystem:
    """The running system. Use it as an async context manager; it is ready inside the block.

    Its services read the same settings from the environment as alone. Raises SettingsError.
    """

    def __init__(
        self,
        state_dir: Path,
        import_roots: Sequence[Path] = (),
        *,
        port_base: int = 0,
        options: Mapping[str, Any] | None = None,
        store: str = "",
        choices: Choices = NO_CHOICES,
    ) -> None:
        self.settings = EmbeddedSettings(
            Path(state_dir).absolute(), tuple(import_roots), port_base, options, store, choices
        )
        self._explicit = explicit(os.environ, choices)
        self.targets: dict[str, str] = {}
        self.servers: dict[str, RunningServer] = {}
        self._exit = AsyncExitStack()

    @property
    def variables(self) -> dict[str, str]:
        """What was set, as variables of the environment that would set it."""
        return texts_of(self._explicit)

    @property
    def import_roots(self) -> tuple[str, ...]:
        """The folders that datasets may be imported from."""
        roots: tuple[str, ...] = self._own("gateway")["import_roots"]
        return roots

    @property
    def target(self) -> str:
        """Address of the gateway, "HOST:PORT"."""
        return self.targets["gateway"]

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        # Six services and the classifiers share the cores. Waiting threads of OpenMP spin unless
        # told otherwise, which made CLIP 17 times slower beside a training run. It is read when
        # torch is first imported, here or in a child process.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        state = self.settings.state
        server_settings = settings_of("server", self._own("server"))
        state.mkdir(parents=True, exist_ok=True)
        self._exit.enter_context(_lock(state))
        _log_to(state / "variegate.log", server_settings.log_level)
        trace_calls("variegate", server_settings.trace_endpoint, os.environ)
        grace = self._own("server").get("drain_seconds", 1.0)
        url = self.settings.store or (state / "objects").as_uri()
        store = open_store(url)
        await asyncio.to_thread(check_store, store)
        self._exit.callback(gc.unfreeze)
        with undisturbed():
            # The gateway comes last: it is told where the others are.
            for name in [*SERVICES[1:], SERVICES[0]]:
                server = await start(
                    await self._create(name, store, url), f"{HOST}:{self._port(name)}"
                )
                self._exit.push_async_callback(server.stop, grace)
                self.servers[name] = server
                self.targets[name] = server.target
                # One after the other: from_pretrained makes every module of the process weightless
                # for a moment, also those that another thread is loading.
                await server.loaded

    def _port(self, name: str) -> int:
        base = self.settings.port_base
        return port_of(name, base) if base else 0

    async def _create(self, name: str, store: ObjectStore, url: str) -> Service:
        settings = settings_of(name, {**self._defaults(name), **self._own(name)})
        keep: Keep | None = None
        if name == "generator":
            server_settings = settings_of("server", self._own("server"))
            traces = http_endpoint(server_settings.trace_endpoint, os.environ)
            settings, keep = await place_engine(
                settings, self.settings.state, url, self._exit, traces
            )
        if name == "prompter":
            settings, keep = await place_language_model(settings, self.settings.state, self._exit)
        wiring = importlib.import_module(f"{name}.wiring")
        service: Service = wiring.create_service(settings, store)
        return keep(service) if keep else service

    def _defaults(self, name: str) -> dict[str, Any]:
        """Returns what differs from a stand-alone service where it was not set."""
        state = self.settings.state
        defaults: dict[str, dict[str, Any]] = {
            "retriever": {"cache": state / "retriever"},
            "trainer": {
                "scratch": state / "trainer",
                "max_runs": _RUNS,
                "threads": 1,
                # What it tunes are the models that images are made with.
                **_renamed(self._explicit, "generator.models_folder", "models_folder"),
            },
            "gateway": {
                "database_url": sqlite_url(state / "gateway.sqlite"),
                "training_runs_in_flight": self._explicit.get("trainer.max_runs", _RUNS),
                **{service: self.targets.get(service, "") for service in SERVICES[1:]},
            },
        }
        return defaults.get(name, {})

    def _own(self, name: str) -> dict[str, Any]:
        """Returns what was set for a service, by field."""
        chosen = {**self._explicit, **(self.settings.options or {})}
        own = {
            key.partition(".")[2]: value
            for key, value in chosen.items()
            if key.partition(".")[0] == name
        }
        if name == "gateway":
            roots = tuple(str(root) for root in self.settings.import_roots)
            own["import_roots"] = (*roots, *own.get("import_roots", ()))
        return own


class _Lock:
    """Holds the state folder for this process; the system forgets it when the process dies."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _lock(state: Path) -> _Lock:
    file = (state / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Precondition(
            f"the state folder {state} is in use by process {holder}; wait for it, stop it, or "
            "choose another folder with --state",
            subject=str(state),
            reason="STATE_IN_USE",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return _Lock(file)


def _log_to(path: Path, level: str) -> None:
    """Sends the log records of this process to a file, so that the terminal is for people."""
    # What cannot be written down, on a full disk, must not end up on the terminal instead.
    logging.raiseExceptions = False
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _renamed(values: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    """Returns one value under another name; nothing if it is not there."""
    return {name: values[key]} if key in values else {}
