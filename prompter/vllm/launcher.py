"""Starts a local vLLM server, waits until it writes, and stops it with everything it started.

`python -m prompter.vllm.launcher` serves SmolLM2 until Ctrl-C and prints what to set PROMPTER_LLM
to. In a cluster vLLM runs in a container of its own beside the prompter, and this is not used.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

from servicekit.errors import Precondition, Unavailable
from servicekit.leash import signal_group, start_leashed, stop_leashed

ROOT = Path(__file__).parents[2]
# Made by `make vllm`; vLLM wants other packages than we do.
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
CONTEXT_TOKENS, SEQUENCES = 2048, 32
_POLL_SECONDS = 0.5
_STOP_SECONDS = 10.0
_TAIL_LINES = 15
_CPU = Path("/proc/cpuinfo")


class LocalVllm:
    """A vLLM server that serves the model in `folder` as `model`; a context manager, too.

    `url` ends in "/v1" and `setting` is what PROMPTER_LLM takes, once it is started. Port 0 picks
    a free one. It may take `ready_seconds` to start.
    """

    name = "vLLM"

    def __init__(
        self,
        folder: Path,
        model: str,
        log: Path,
        *,
        port: int = 0,
        python: Path = PYTHON,
        ready_seconds: float = 240.0,
    ) -> None:
        self.log, self.ready_seconds = log, ready_seconds
        self._folder, self._model = folder, model
        self._port, self._python = port, python
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def setting(self) -> str:
        return f"{self.url}#{self._model}"

    @property
    def has_ended(self) -> bool:
        """Whether the server does not run."""
        return self.process is None or self.process.poll() is not None

    def start(self) -> None:
        """Starts the server and waits until it writes.

        Raises Precondition if vLLM is not installed or the port is taken, and Unavailable with the
        end of the log if the server ends, is stopped, or writes nothing in time.
        """
        process = self.launch()
        try:
            self._wait(process)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> "subprocess.Popen[bytes]":
        """Starts the server and does not wait; at the same port each time. Raises Precondition."""
        if not self._python.exists():
            raise Precondition(
                f"vLLM is not installed: there is no {self._python}; run: make vllm",
                subject="vllm",
                reason="VLLM_MISSING",
            )
        self._port = _free_port(self._port)
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            command = [str(self._python), *_arguments(self._folder, self._model, self._port)]
            environment = {**os.environ, **_ENVIRONMENT}
            self.process = start_leashed(command, out, environment, self.log.parent)
        return self.process

    def stop(self) -> None:
        """Stops the server and all processes that it started, also paused ones; twice is fine."""
        if self.process is not None:
            stop_leashed(self.process, _STOP_SECONDS)

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        self.signal(signal.SIGKILL)
        self.stop()

    def is_well(self) -> bool:
        """Asks the server whether its engine lives."""
        url = f"{self.url.removesuffix('/v1')}/health"
        with suppress(OSError), urllib.request.urlopen(url, timeout=30) as response:
            return bool(response.status == 200)
        return False

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server and all processes that it started."""
        if self.process is not None:
            signal_group(self.process, number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Waits until the server has written: health alone comes before the engine works."""
        until = time.monotonic() + self.ready_seconds
        while not self._writes():
            if process.poll() is not None:
                raise self._failed(f"ended with {process.returncode}")
            if time.monotonic() > until:
                raise self._failed(f"did not write anything within {self.ready_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _writes(self) -> bool:
        body = json.dumps({"model": self._model, "prompt": "A", "max_tokens": 1}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/completions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return bool(json.load(response)["choices"])
        except (OSError, ValueError, KeyError):
            return False

    def _failed(self, what: str) -> Unavailable:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(lines)
        return Unavailable(f"vLLM {what}; {self.log} ends with:\n{tail}", reason="VLLM_FAILED")


_JSON = {"backend": "xgrammar", "disable_any_whitespace": True}
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    # Its packages are its own, and none is in the folder where it runs.
    "PYTHONPATH": "",
    "PYTHONSAFEPATH": "1",
}


def _arguments(folder: Path, model: str, port: int) -> list[str]:
    return [
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(folder), "--served-model-name", model),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(CONTEXT_TOKENS), "--enforce-eager"),
        *("--dtype", _dtype(_CPU.read_text() if _CPU.exists() else "")),
        # On a CPU, the engine of 0.32.0 dies of a seeded request whose prompt is read in parts
        # ("CPU Generator does not use offset"), so there is room to read all prompts whole.
        *("--max-num-seqs", str(SEQUENCES)),
        *("--max-num-batched-tokens", str(SEQUENCES * CONTEXT_TOKENS)),
        # No tokens for white space between the parts of a JSON reply.
        *("--structured-outputs-config", json.dumps(_JSON)),
    ]


def _dtype(cpu: str) -> str:
    """Returns the dtype of weights: the model's own, unless the processor multiplies it slowly.

    `cpu` is what /proc/cpuinfo says. Without AVX-512, x86-64 has no fast product of bfloat16.
    """
    flags = cpu.split()
    return "float32" if "avx2" in flags and "avx512f" not in flags else "auto"


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Precondition(
                f"vLLM cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port",
                subject=str(port),
                reason="PORT_IN_USE",
            ) from error
        return int(probe.getsockname()[1])


def main() -> None:
    """Serves the packaged SmolLM2 until it is interrupted."""
    from prompter.llms import packaged

    folder, _ = packaged.export()
    log = ROOT / ".variegate" / "vllm.log"
    print(f"starting vLLM, log in {log}", flush=True)
    with LocalVllm(folder, packaged.NAME, log) as server:
        print(f"PROMPTER_LLM={server.setting}", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
