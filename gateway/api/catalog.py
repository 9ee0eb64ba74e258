"""Datasets, augmentations and studies in the object store: what was asked for, and what was made.

Each resource has objects below its name: `request.json` and `times.json`, written before work
starts, and `resource.json`, written when the work is done. They outlive the process and its
database. Times are apart, because equal requests have equal resources.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.messages import (
    Resource,
    augmentation_from_pb,
    dataset_from_pb,
    to_pb,
)
from gateway.api.resources import Dataset
from gateway.api.study_messages import study_from_pb
from servicekit.errors import AlreadyExists, InvalidArgument, NotFound
from servicekit.storage import ObjectStore

_REQUEST, _RESOURCE, _TIMES = "request.json", "resource.json", "times.json"


@dataclass(frozen=True)
class Times:
    """When a resource was first asked for and finished, in seconds since 1970; 0 if not known.

    `study` is the name of the study that makes it among its own work; "" if it is work by itself.
    """

    created: float = 0.0
    ended: float = 0.0
    study: str = ""


class Catalog:
    """Synchronous, as the store is."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def claim(self, resource: Resource, study: str = "") -> None:
        """Writes down what is asked for, and the study that makes it, if one does.

        Raises AlreadyExists if something else was asked for.
        """
        key, text = f"{resource.name}/{_REQUEST}", _to_json(resource)
        if not self._store.put(key, text) and (old := self._store.get(key)) != text:
            raise _different(resource.name, json.loads(old), json.loads(text))
        self._write_times(resource.name, Times(time.time(), study=study), overwrite=False)

    def times(self, name: str) -> Times:
        """Returns when a resource was asked for and finished."""
        try:
            return Times(**json.loads(self._store.get(f"{name}/{_TIMES}")))
        except NotFound:
            return Times()

    def finish(self, resource: Resource) -> None:
        """Records the finished resource, once: what another gateway has finished stays."""
        if self._store.exists(f"{resource.name}/{_RESOURCE}"):
            return
        times = replace(self.times(resource.name), ended=time.time())
        self._write_times(resource.name, times, overwrite=True)
        self._store.put(f"{resource.name}/{_RESOURCE}", _to_json(resource))

    def _write_times(self, name: str, times: Times, *, overwrite: bool) -> None:
        data = json.dumps(asdict(times)).encode()
        self._store.put(f"{name}/{_TIMES}", data, overwrite=overwrite)

    def finished_and_times(self, name: str) -> tuple[Resource | None, Times]:
        """Returns the finished resource, None if it is not finished, and its times."""
        return self.finished(name), self.times(name)

    def has(self, name: str) -> bool:
        """Says whether anything was asked for under a name, which may be any text."""
        try:
            return self._store.exists(f"{name}/{_REQUEST}")
        except InvalidArgument:  # No name of ours is no key of a store.
            return False

    def requested(self, name: str) -> Resource:
        """Returns what was asked for under a name. Raises NotFound."""
        return self._read(name, _REQUEST)

    def finished(self, name: str) -> Resource | None:
        """Returns the finished resource; None if it is not finished."""
        if not self._store.exists(f"{name}/{_RESOURCE}"):
            return None
        return self._read(name, _RESOURCE)

    def get(self, name: str) -> Resource:
        """Returns the resource as far as it is. Raises NotFound."""
        return self.finished(name) or self.requested(name)

    def dataset(self, name: str) -> Dataset:
        """Returns a finished dataset. Raises NotFound."""
        found = self.finished(name)
        if not isinstance(found, Dataset):
            raise _missing(name, "import it first")
        return found

    def names(self, collection: str) -> Iterator[str]:
        """Yields the names of a collection, for example "datasets/pets/augmentations", sorted."""
        depth = collection.count("/") + 2
        keys = self._store.list(f"{collection}/")
        found = {key.rpartition("/")[0] for key in keys if key.endswith(f"/{_REQUEST}")}
        yield from sorted(name for name in found if name.count("/") == depth - 1)

    def every_name(self) -> Iterator[str]:
        """Yields the names of everything that was ever asked for, sorted."""
        for dataset in self.names("datasets"):
            yield dataset
            yield from self.names(f"{dataset}/augmentations")
        yield from self.names("studies")

    def _read(self, name: str, file: str) -> Resource:
        try:
            text = self._store.get(f"{name}/{file}")
        except NotFound:
            raise _missing(name, "check the name") from None
        message, convert = _kind_of(name)
        json_format.ParseDict(json.loads(text), message)
        resource: Resource = convert(message)
        return resource


def _different(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> AlreadyExists:
    ours = [{**request, "models": None} for request in (old, new)]
    if ours[0] == ours[1]:
        then, now = old.get("models", {}), new.get("models", {})
        roles = [role for role in sorted({*then, *now}) if then.get(role) != now.get(role)]
        return AlreadyExists(
            f"{name} was made with other models than those in use now (another "
            f"{', another '.join(roles)}); choose another id",
            resource=name,
            reason="DIFFERENT_MODELS",
        )
    return AlreadyExists(
        f"{name} exists with another request; choose another id, or repeat the request "
        "that it was made for",
        resource=name,
        reason="DIFFERENT_REQUEST",
    )


def _missing(name: str, remedy: str) -> NotFound:
    return NotFound(f"there is no {name}; {remedy}", resource=name)


def _kind_of(name: str) -> tuple[Message, Callable[[Any], Resource]]:
    if name.startswith("studies/"):
        return pb.Study(), study_from_pb
    if "/augmentations/" in name:
        return pb.Augmentation(), augmentation_from_pb
    return pb.Dataset(), dataset_from_pb


def _to_json(resource: Resource) -> bytes:
    document = json_format.MessageToDict(to_pb(resource), preserving_proto_field_name=True)
    return json.dumps(document, sort_keys=True, indent=1).encode()
