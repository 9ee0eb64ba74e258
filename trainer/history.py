"""What the store keeps of a run, and the metrics of a run as they grow."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

from servicekit.errors import NotFound
from servicekit.storage import ObjectStore, to_uri
from trainer.kinds.registry import type_of
from trainer.runs import JobRequest, JobResult

# Of a worker's folder and of a run in the store: metrics for TensorBoard, which knows such a file
# by its name.
EVENTS = "tensorboard/events.out.tfevents"


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
    """Runs in the object store, each under its name, "COLLECTION/ID". Thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def add(self, run: str, request: JobRequest, call: bytes) -> None:
        """Keeps what was asked for, and the call that asked; a no-op if the run is known."""
        self._store.put(f"{run}/call.pb", call)
        self._store.put(f"{run}/run.json", request.to_json())

    def request(self, run: str) -> JobRequest | None:
        """What was asked for, None if the run is not known."""
        key = f"{run}/run.json"
        kind = type_of(run).Request
        return kind.of_json(self._store.get(key)) if self._store.exists(key) else None

    def call(self, run: str) -> bytes | None:
        """The call that asked for the run, None if it is not known."""
        key = f"{run}/call.pb"
        return self._store.get(key) if self._store.exists(key) else None

    def get(self, run: str) -> tuple[JobRequest, JobResult | None]:
        """The request and, once it has succeeded, the result. Raises NotFound."""
        request = self.request(run)
        if request is None:
            title = type_of(run).title
            reason = f"{title.upper().replace(' ', '_')}_NOT_FOUND"
            raise NotFound(f"no {title} {run.partition('/')[2]}", resource=run, reason=reason)
        return request, self.result(run)

    def result(self, run: str) -> JobResult | None:
        """The result, None until the run has succeeded."""
        key = f"{run}/result.json"
        kind = type_of(run).Result
        return kind.of_json(self._store.get(key)) if self._store.exists(key) else None

    def has_result(self, run: str) -> bool:
        """Whether the run has succeeded."""
        return self._store.exists(f"{run}/result.json")

    def names(self, collection: str) -> Iterator[str]:
        """Names of all runs of a collection, sorted."""
        found = {"/".join(key.split("/")[:2]) for key in self._store.list(f"{collection}/")}
        yield from sorted(run for run in found if self._store.exists(f"{run}/run.json"))

    def finish(self, run: str, result: JobResult) -> None:
        """Keeps the result, after everything that it refers to, and drops the checkpoint."""
        self._store.put(f"{run}/result.json", result.to_json())
        self._store.delete(f"{run}/checkpoint.safetensors")

    def keep(self, run: str, name: str, data: bytes) -> str:
        """Stores a file of a run and returns its URI."""
        key = f"{run}/{name}"
        self._store.put(key, data, overwrite=True)
        return to_uri(key)

    def keep_checkpoint(self, run: str, checkpoint: bytes, metrics: list[Metrics]) -> None:
        """Replaces the checkpoint. The metrics go first, so they are never behind it."""
        self.keep_metrics(run, metrics)
        self.keep(run, "checkpoint.safetensors", checkpoint)

    def checkpoint(self, run: str) -> bytes | None:
        """The checkpoint, None if there is none."""
        key = f"{run}/checkpoint.safetensors"
        return self._store.get(key) if self._store.exists(key) else None

    def metrics(self, run: str) -> list[Metrics]:
        """The metrics kept so far, by step."""
        key = f"{run}/metrics.jsonl"
        if not self._store.exists(key):
            return []
        lines = self._store.get(key).decode().splitlines()
        return [Metrics(**json.loads(line)) for line in lines]

    def keep_metrics(self, run: str, metrics: list[Metrics]) -> str:
        """Replaces the metrics and returns their URI."""
        lines = [json.dumps({"step": m.step, "values": dict(m.values)}) for m in metrics]
        data = "".join(line + "\n" for line in lines).encode()
        return self.keep(run, "metrics.jsonl", data)
