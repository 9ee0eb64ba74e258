"""Starts a Triton server on this machine, from the environment that `make triton` makes."""

import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from generator.settings import GeneratorSettings
from generator.triton.container import trace_arguments
from servicekit.children import python_environment
from servicekit.errors import Precondition, Unavailable
from servicekit.leash import signal_group, start_leashed, stop_leashed

# Names another environment than the checkout's .venv-triton.
ENVIRONMENT_KEY = "VARIEGATE_TRITON_VENV"
_HOST = "127.0.0.1"
_ROOT = Path(__file__).resolve().parent.parent.parent
_MODELS = Path(__file__).resolve().parent / "models"
_SHARED_MEMORY = Path("/dev/shm")
_SHM_PREFIX = "variegate-triton-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ports:
    """Loopback ports; 0 picks a free one."""

    grpc: int = 0
    http: int = 0
    metrics: int = 0


class LocalTriton:
    """A Triton server in a child process. Use it as a context manager; it works inside the block.

    `folder` holds its log and a link to its backend. `settings` are the engine's and `store` is its
    object store's URL. It may take `ready_seconds` to start. Its part of traces goes to `traces`
    (OTLP over HTTP, http://HOST:4318/v1/traces) if that is given.
    """

    name = "Triton"

    def __init__(
        self,
        folder: Path,
        settings: GeneratorSettings,
        store: str,
        *,
        ports: Ports = Ports(),
        ready_seconds: float = 180.0,
        traces: str = "",
    ) -> None:
        wanted = (ports.grpc, ports.http, ports.metrics)
        self.ports = Ports(*(port or free_port() for port in wanted))
        self.target = f"{_HOST}:{self.ports.grpc}"
        self.log = folder.absolute() / "triton.log"
        self.settings = replace(settings, backend="triton", triton=self.target)
        self.ready_seconds = ready_seconds
        self._folder, self._store, self._traces = folder.absolute(), store, traces
        self._shm_prefix = f"{_SHM_PREFIX}{os.getpid()}-{self.ports.grpc}-"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Id of the process that holds Triton's process group."""
        if self._process is None:
            raise RuntimeError("Triton is not started")
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the server does not run, though its models may be dead in one that does."""
        return self._process is None or self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and waits until it makes an image.

        Raises Precondition if `make triton` was not run or Triton ends, Unavailable if it takes too
        long; both with the end of its log.
        """
        self.launch()
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Starts the server and does not wait. Raises Precondition if `make triton` was not run."""
        environment = _environment()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with self.log.open("ab") as log:
            command = self._command(environment)
            # Its stub takes code from the folder that it runs in, so that must not be the user's.
            variables = self._variables(environment)
            self._process = start_leashed(command, log, variables, self._folder)

    def stop(self, seconds: float = 15.0) -> None:
        """Lets Triton finish what it is doing for up to `seconds`, and ends it."""
        process, self._process = self._process, None
        if process is None:
            return
        if not stop_leashed(process, seconds):
            _log.warning("Triton did not end within %g s and was killed", seconds)
        self._sweep()

    def kill(self) -> None:
        """Ends Triton at once, as a crash would."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)
        self.stop()

    def _command(self, environment: Path) -> Sequence[str]:
        server = _server_folder(environment)
        backends = self._folder / "backends"
        _link_backend(server, backends / "python")
        ports = self.ports
        return [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={_MODELS}",
            f"--backend-directory={backends}",
            # The stub makes its shared memory under this prefix, so that it can be swept.
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            f"--backend-config=python,stub-timeout-seconds={self.ready_seconds:.0f}",
            "--disable-auto-complete-config",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=10",
            *(f"--{kind}-address={_HOST}" for kind in ("grpc", "http", "metrics")),
            f"--grpc-port={ports.grpc}",
            f"--http-port={ports.http}",
            f"--metrics-port={ports.metrics}",
            *trace_arguments(self._traces),
        ]

    def _variables(self, environment: Path) -> Mapping[str, str]:
        """The stub finds its Python by PATH alone, and is configured as the front is."""
        ours = {f.name: getattr(self.settings, f.name) for f in fields(self.settings)}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GENERATOR_", "SERVER_"))}
        return {
            **python_environment(kept),
            **{f"GENERATOR_{name}".upper(): _text(value) for name, value in ours.items()},
            "SERVER_STORE": self._store,
            "PATH": f"{environment / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": _library_folder(environment),
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def _wait(self) -> None:
        # Torch is imported here and not before, so that a missing environment is reported at once.
        from generator.backends import start_triton
        from servicekit.storage import MemoryStore

        backend = start_triton(self.settings, MemoryStore())
        deadline = time.monotonic() + self.ready_seconds
        try:
            while not backend.is_healthy():
                if self._process is not None and (code := self._process.poll()) is not None:
                    raise Precondition(
                        f"Triton ended with code {code} while starting; {self._tail()}",
                        subject="Triton",
                        reason="TRITON_ENDED",
                    )
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Triton made no image within {self.ready_seconds:g} s; {self._tail()}",
                        reason="TRITON_UNAVAILABLE",
                    )
                time.sleep(0.2)
        finally:
            backend.close()

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        # Errors begin with E and the date; a table follows that nobody needs.
        errors = [line for line in lines if re.match(r"E\d{4} ", line)]
        return f"{self.log} says:\n" + "\n".join((errors or lines)[-5:])

    def _sweep(self) -> None:
        """Removes what killed stubs left in shared memory: ours, and those of dead processes."""
        for path in _SHARED_MEMORY.glob(f"{_SHM_PREFIX}*"):
            owner = path.name.removeprefix(_SHM_PREFIX).partition("-")[0]
            if path.name.startswith(self._shm_prefix) or not Path("/proc", owner).exists():
                path.unlink(missing_ok=True)


def free_port() -> int:
    """Returns a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> Path:
    environment = Path(os.environ.get(ENVIRONMENT_KEY, _ROOT / ".venv-triton")).absolute()
    if not (environment / "bin" / "python").exists():
        raise Precondition(
            f"Triton's environment {environment} does not exist; run `make triton`, or name it in "
            f"{ENVIRONMENT_KEY}",
            subject=str(environment),
            reason="TRITON_NOT_INSTALLED",
        )
    return environment


def _server_folder(environment: Path) -> Path:
    """Returns where the package nvidia-pytriton keeps the server."""
    found = list(environment.glob("lib/python3.*/site-packages/pytriton/tritonserver"))
    if not found:
        raise Precondition(
            f"{environment} holds no Triton server; run `make triton` again",
            subject=str(environment),
            reason="TRITON_NOT_INSTALLED",
        )
    return found[0]


def _library_folder(environment: Path) -> str:
    """Returns where the environment's libpython lies, which the stub loads."""
    ask = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    command = [str(environment / "bin" / "python"), "-I", "-c", ask]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _link_backend(server: Path, folder: Path) -> None:
    """The stub of the environment's Python version must lie beside the backend's library."""
    folder.mkdir(parents=True, exist_ok=True)
    version = server.parts[-4].removeprefix("python")
    for source in (
        server / "backends" / "python" / "libtriton_python.so",
        server / "backends" / "python" / "triton_python_backend_utils.py",
        server / "python_backend_stubs" / version / "triton_python_backend_stub",
    ):
        link = folder / source.name
        link.unlink(missing_ok=True)
        link.symlink_to(source)


def _text(value: object) -> str:
    if isinstance(value, Path):  # the server runs in another folder
        return str(value.absolute())
    return ",".join(value) if isinstance(value, tuple) else str(value)
