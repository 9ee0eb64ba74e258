"""Pods of a test's cluster: processes of this machine, each with an empty folder of its own."""

import asyncio
import json
import os
import re
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.k8s.rendered import ROOT

Manifest = dict[str, Any]
CONTAINER = "trainer"


class Pod:
    """One pod, from its start on."""

    def __init__(self, job: Manifest, index: int, folder: Path, port: int) -> None:
        self.port = port  # in place of the first pod's, which has all ports to itself
        self.job, self.index = job["metadata"]["name"], index
        self.name = f"{self.job}-{index}-{uuid.uuid4().hex[:5]}"
        self.spec = job["spec"]["template"]
        self.folder = folder / self.name
        self.log = folder / f"{self.name}.log"
        self.is_disrupted = False
        self.process: asyncio.subprocess.Process | None = None

    @classmethod
    async def started(
        cls, job: Manifest, index: int, folder: Path, environ: dict[str, str], port: int
    ) -> "Pod":
        pod = cls(job, index, folder, port)
        pod.folder.mkdir()
        with pod.log.open("wb") as log:
            pod.process = await asyncio.create_subprocess_exec(
                *pod._command(),
                cwd=pod.folder,
                env=pod._environ(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return pod

    async def ended(self) -> int:
        """Waits for the container's process and ends all that it left, as its cgroup is emptied."""
        assert self.process is not None
        started: set[psutil.Process] = set()  # Also what its parent has left behind meanwhile.
        while self.process.returncode is None:
            started.update(self._family()[1:])
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.process.wait()), 0.1)
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.to_thread(psutil.wait_procs, list(started), 10)
        return self.process.returncode

    def _family(self) -> list[psutil.Process]:
        """The container's process and all that it started; none if it is gone by now."""
        assert self.process is not None
        try:
            main = psutil.Process(self.process.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    async def end(self) -> None:
        """As a pod is deleted."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            await self.ended()

    def evict(self) -> None:
        """As a node is lost: all processes at once, without a word."""
        self.is_disrupted = True
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def shown(self) -> Manifest:
        """The pod as the API server tells of it."""
        labels = {
            **self.spec["metadata"]["labels"],
            "batch.kubernetes.io/job-name": self.job,
            "batch.kubernetes.io/job-completion-index": str(self.index),
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": labels},
            "spec": self.spec["spec"],
            "status": {"containerStatuses": [{"name": CONTAINER, "state": self._state()}]},
        }

    def _state(self) -> Manifest:
        code = self.process.returncode if self.process is not None else None
        if code is None:
            return {"running": {}}
        # FallbackToLogsOnError: the last 80 lines of the log.
        last = self.log.read_text(errors="replace").splitlines()[-80:]
        return {
            "terminated": {
                "exitCode": code if code >= 0 else 128 - code,
                "reason": "Error" if code else "Completed",
                "message": "\n".join(last)[-2048:] if code else "",
            }
        }

    def _command(self) -> list[str]:
        """The entry point of the image, unless the manifest has another, and the arguments."""
        [one] = [c for c in self.spec["spec"]["containers"] if c["name"] == CONTAINER]
        dockerfile = (ROOT / "trainer/Dockerfile").read_text()
        entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[-1])
        return [sys.executable, *entry[1:], *map(self._reachable, one.get("args", ()))]

    def _reachable(self, argument: str) -> str:
        """What the cluster's DNS does: the first pod is at its name below the Service."""
        return re.sub(rf"^{self.job}-0\.{self.job}:29400$", f"127.0.0.1:{self.port}", argument)

    def _environ(self, environ: dict[str, str]) -> dict[str, str]:
        return environ | {
            "HOME": str(self.folder),
            "TRAINER_SCRATCH": str(self.folder / "scratch"),
            "JOB_COMPLETION_INDEX": str(self.index),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": "1",
        }
