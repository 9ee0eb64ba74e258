"""What the store keeps of a run, and the metrics of a run as they grow."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

from servicekit.errors import NotFound
from servicekit.storage import ObjectStore, to_uri
from trainer.runs import (
    RunRequest,
    RunResult,
    request_from_json,
    request_to_json,
    result_from_json,
    result_to_json,
)

_ROOT = "trainingRuns"


@dataclass(frozen=True)
class Metrics:
    """Values of one step, by name; steps count from 1."""

    step: int
    values: Mapping[str, float]


@dataclass
class MetricsLog:
    """The metrics of a run that is going on; readers wait for the next."""

    entries: list[Metrics] = field(default_factory=list)
    closed: bool = False
    _readers: set[asyncio.Event] = field(default_factory=set)

    def append(self, metrics: Metrics) -> None:
        """Adds a step; one that is known already, from before an interruption, is left out."""
        if not self.entries or metrics.step > self.entries[-1].step:
            self.entries.append(metrics)
            self._wake()

    def close(self) -> None:
        """Ends all readers."""
        self.closed = True
        self._wake()

    async def after(self, step: int) -> AsyncIterator[Metrics]:
        """Yields what comes after `step`, then what is added, until the log is closed."""
        changed = asyncio.Event()
        self._readers.add(changed)
        try:
            position = 0
            while position < len(self.entries) or not self.closed:
                if position == len(self.entries):
                    changed.clear()
                    await changed.wait()
                    continue
                metrics = self.entries[position]
                position += 1
                if metrics.step > step:
                    yield metrics
        finally:
            self._readers.discard(changed)

    def _wake(self) -> None:
        for changed in self._readers:
            changed.set()


class RunHistory:
    """Runs in the object store, under trainingRuns/ID/. Synchronous and thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def add(self, run_id: str, request: RunRequest, call: bytes) -> None:
        """Keeps what was asked for, and the call that asked; a no-op if the run is known."""
        self._store.put(f"{_ROOT}/{run_id}/call.pb", call)
        self._store.put(f"{_ROOT}/{run_id}/run.json", request_to_json(request))

    def request(self, run_id: str) -> RunRequest | None:
        """What was asked for, None if the run is not known."""
        key = f"{_ROOT}/{run_id}/run.json"
        return request_from_json(self._store.get(key)) if self._store.exists(key) else None

    def call(self, run_id: str) -> bytes | None:
        """The call that asked for the run, None if it is not known."""
        key = f"{_ROOT}/{run_id}/call.pb"
        return self._store.get(key) if self._store.exists(key) else None

    def get(self, run_id: str) -> tuple[RunRequest, RunResult | None]:
        """The request and, once it has succeeded, the result. Raises NotFound."""
        request = self.request(run_id)
        if request is None:
            raise NotFound(
                f"no training run {run_id}",
                resource=f"{_ROOT}/{run_id}",
                reason="TRAINING_RUN_NOT_FOUND",
            )
        return request, self.result(run_id)

    def result(self, run_id: str) -> RunResult | None:
        """The result, None until the run has succeeded."""
        key = f"{_ROOT}/{run_id}/result.json"
        return result_from_json(self._store.get(key)) if self._store.exists(key) else None

    def has_result(self, run_id: str) -> bool:
        """Whether the run has succeeded."""
        return self._store.exists(f"{_ROOT}/{run_id}/result.json")

    def ids(self) -> Iterator[str]:
        """Ids of all runs, sorted."""
        ids = {key.split("/")[1] for key in self._store.list(f"{_ROOT}/")}
        yield from sorted(
            run_id for run_id in ids if self._store.exists(f"{_ROOT}/{run_id}/run.json")
        )

    def finish(self, run_id: str, result: RunResult) -> None:
        """Keeps the result, after everything that it refers to, and drops the checkpoint."""
        self._store.put(f"{_ROOT}/{run_id}/result.json", result_to_json(result))
        self._store.delete(f"{_ROOT}/{run_id}/checkpoint.safetensors")

    def keep(self, run_id: str, name: str, data: bytes) -> str:
        """Stores a file of a run and returns its URI."""
        key = f"{_ROOT}/{run_id}/{name}"
        self._store.put(key, data, overwrite=True)
        return to_uri(key)

    def keep_checkpoint(self, run_id: str, checkpoint: bytes, metrics: list[Metrics]) -> None:
        """Replaces the checkpoint. The metrics go first, so they are never behind it."""
        self.keep_metrics(run_id, metrics)
        self.keep(run_id, "checkpoint.safetensors", checkpoint)

    def checkpoint(self, run_id: str) -> bytes | None:
        """The checkpoint, None if there is none."""
        key = f"{_ROOT}/{run_id}/checkpoint.safetensors"
        return self._store.get(key) if self._store.exists(key) else None

    def metrics(self, run_id: str) -> list[Metrics]:
        """The metrics kept so far, by step."""
        key = f"{_ROOT}/{run_id}/metrics.jsonl"
        if not self._store.exists(key):
            return []
        lines = self._store.get(key).decode().splitlines()
        return [Metrics(**json.loads(line)) for line in lines]

    def keep_metrics(self, run_id: str, metrics: list[Metrics]) -> str:
        """Replaces the metrics and returns their URI."""
        lines = [json.dumps({"step": m.step, "values": dict(m.values)}) for m in metrics]
        data = "".join(line + "\n" for line in lines).encode()
        return self.keep(run_id, "metrics.jsonl", data)
