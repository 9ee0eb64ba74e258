"""Whose resources are whose.

A resource belongs to the owner who asked for it first, which is written down below its name; one
without an owner of its own, as what a study makes, to that of the resource above it. What was made
while nobody was asked belongs to nobody: only admins reach it. Where nobody is asked who they are,
everything is open.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.auth.principals import Principal, Scope, current_call
from servicekit.errors import InvalidArgument, NotFound, PermissionDenied
from servicekit.storage import ObjectStore

OWNER = "owner.txt"
# Names of resources, as texts of requests have them.
_NAME = re.compile(r"(datasets|studies)/[^/]+(/augmentations/[^/]+)?")
_MOST_KNOWN = 100_000
OUTPUT_ONLY = field_behavior_pb2.OUTPUT_ONLY


class Access:
    """Checks on behalf of the principal whose call is being answered.

    `prefixes` are the prefixes of the store that requests may name; {owner} stands for the owner.
    """

    def __init__(self, store: ObjectStore, prefixes: Sequence[str] = ()) -> None:
        self._store, self._prefixes = store, prefixes
        self._known: dict[str, str] = {}  # Owners never change.

    async def use(self, name: str) -> None:
        """Raises PermissionDenied if a resource is another's or, with the same words, missing."""
        if principal := _principal(name):
            await asyncio.to_thread(self._check, principal, name)

    async def create(self, name: str, parent: str = "") -> None:
        """Makes a new resource the principal's. Raises PermissionDenied if it or its parent is
        another's."""
        principal = _principal(name)
        if principal is None:
            return
        if parent:
            await asyncio.to_thread(self._check, principal, parent)
        await asyncio.to_thread(self._claim, principal, name)

    def visible(self, names: Iterable[str]) -> Iterator[str]:
        """Yields the names that the principal may know of. Synchronous: reads owners."""
        call = current_call.get()
        if call is None or call.principal.scope is Scope.ADMIN:
            yield from names
            return
        for name in names:
            if self._owner(name) == call.principal.owner:
                yield name

    async def check(self, request: Message) -> None:
        """Checks all that a request names: resources, and places in the store.

        Raises PermissionDenied for what is not the principal's to name.
        """
        call = current_call.get()
        if call is None:
            return
        for path, value in _texts(request, ""):
            if path.endswith("uri"):
                self._check_place(call.principal, path, value)
            elif _NAME.fullmatch(value):
                await self.use(value)

    def _check_place(self, principal: Principal, path: str, uri: str) -> None:
        key = uri.removeprefix("store:")
        allowed = [one.format(owner=principal.owner) for one in self._prefixes]
        if principal.scope is Scope.ADMIN or key == uri or key.startswith(tuple(allowed)):
            return
        raise PermissionDenied(
            f"{path} is {uri}, and {principal.name} may name places below "
            f"{' or '.join(f'store:{prefix}' for prefix in allowed) or 'none'} only",
            reason="PLACE_NOT_YOURS",
            metadata={"field": path},
        )

    def _check(self, principal: Principal, name: str) -> None:
        if principal.scope is not Scope.ADMIN and self._owner(name) != principal.owner:
            raise _denied(principal, name)

    def _claim(self, principal: Principal, name: str) -> None:
        """The first to ask becomes the owner, also of two who ask at once."""
        owner = self._owner(name)
        is_free = not owner and not any(self._store.list(f"{name}/"))
        if is_free and self._store.put(f"{name}/{OWNER}", principal.owner.encode()):
            return
        self._check(principal, name)

    def _owner(self, name: str) -> str:
        """Returns the owner of a resource, "" if it has none."""
        if name in self._known:
            return self._known[name]
        try:
            owner = self._store.get(f"{name}/{OWNER}").decode()
        except (NotFound, InvalidArgument):  # No name of ours is no key of a store.
            parent = "/".join(name.split("/")[:-2])
            owner = self._owner(parent) if parent else ""
        if not owner:
            return ""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[name] = owner
        return owner


def _principal(name: str) -> Principal | None:
    """Returns who calls, and notes what the call is about."""
    call = current_call.get()
    if call is None:
        return None
    if name not in call.resources:
        call.resources.append(name)
    return call.principal


def _denied(principal: Principal, name: str) -> PermissionDenied:
    return PermissionDenied(
        f"{name} belongs to others than {principal.owner}, or does not exist; check the name",
        reason="NOT_YOURS",
        metadata={"resource": name},
    )


def _texts(message: Message, path: str) -> Iterator[tuple[str, str]]:
    """Yields path and value of every text of a request, but for those that only answers have."""
    for field, value in message.ListFields():
        if OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            continue
        here = f"{path}.{field.name}" if path else field.name
        values = value if field.is_repeated else [value]
        if kind := field.message_type:
            if not kind.GetOptions().map_entry:
                for one in values:
                    yield from _texts(one, here)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield from ((here, one) for one in values)
