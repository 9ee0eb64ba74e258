"""What the server has to know of a kind of run: its images, its folder, what it leaves."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from servicekit.storage import ObjectStore
from trainer.data.leases import Lease
from trainer.runs import JobRequest, JobResult, JobSpec
from trainer.settings import TrainerSettings

# Of a tuning, in the store: the images that it learned of.
SOURCES = "sources.parquet"


class RunKind(Protocol):
    """A kind of run, on the server's side. Its methods are synchronous and thread-safe.

    `collection` is that of the resource names, "COLLECTION/ID", under which the store keeps a run
    too, `title` what people call it, `field` the request's field that describes it, and `prefix`
    what the names of its Kubernetes Jobs begin with.
    """

    collection: ClassVar[str]
    title: ClassVar[str]
    field: ClassVar[str]
    prefix: ClassVar[str]
    Request: ClassVar[type[JobRequest]]
    Result: ClassVar[type[JobResult]]

    def __init__(self, settings: TrainerSettings, store: ObjectStore) -> None:
        """Reads from `store` and writes below the settings' scratch folder."""

    def choose(self, request: Any) -> Any:
        """Reads the manifests and returns the images; checks all that can be told by now.

        Raises InvalidArgument, Precondition or NotFound.
        """

    def completed(self, request: Any, images: Any) -> Any:
        """Returns the request with those defaults that depend on the images."""

    def cache_entries(self, request: Any, images: Any) -> Mapping[str, int]:
        """Returns what a completed run needs in the cache of images: bytes by name."""

    def prepare(self, run: str, request: Any, images: Any, lease: Lease) -> JobSpec:
        """Fetches and guards the images, writes the run's folder, and says what a worker does.

        The images stay until `lease` is released.
        """

    def files(self, spec: Any) -> Mapping[str, bytes]:
        """Returns what a worker that is done left for the store, by name."""

    def kept(self, result: Any, uris: Mapping[str, str], metrics_uri: str) -> Any:
        """Returns the result with the places of `files` in the store."""

    def pace_key(self, request: Any) -> Sequence[Any]:
        """Returns what the pace of a run depends on, besides where the trainer computes."""


def run_folder(settings: TrainerSettings, run: str, data_digest: str) -> Path:
    """Where a run works.

    A run's name is unique in one store only, while several stores may share the scratch folder.
    """
    return (settings.scratch / "runs" / f"{run.replace('/', '-')}-{data_digest[:12]}").absolute()


def machine_values(settings: TrainerSettings) -> dict[str, Any]:
    """Those values of a spec that say how this machine works, and not what comes out."""
    return {
        "threads": settings.threads or len(os.sched_getaffinity(0)),
        "checkpoint_seconds": settings.checkpoint_seconds,
        "device": settings.device,
        "loaders": settings.loaders,
    }
