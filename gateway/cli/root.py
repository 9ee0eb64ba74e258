"""The embedded system, found by its name here and nowhere else.

`embedded` is the composition root: the one package that may import all others, so nothing imports
it. Where it is not installed, this command line talks to systems that run elsewhere only. What is
needed of it are the protocols below.
"""

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gateway.cli.failures import CliError

if TYPE_CHECKING:
    from pathlib import Path

    from variegate.gateway.v1 import gateway_pb2 as pb


class System(Protocol):
    """An embedded system inside its block. `targets` maps service name to HOST:PORT.

    `variables` are the settings that it was started with, as variables of the environment.
    """

    target: str
    targets: Mapping[str, str]
    variables: Mapping[str, str]
    import_roots: tuple[str, ...]


class StoredResource(Protocol):
    """A dataset, augmentation or study that a state folder keeps, and the datasets it needs."""

    name: str
    datasets: frozenset[str]
    is_finished: bool


def module(name: str) -> Any:
    """Returns a module of the embedded system. Raises CliError if a package of it is missing."""
    try:
        return importlib.import_module(f"embedded.{name}")
    except ModuleNotFoundError as error:
        raise CliError(
            f"The embedded system cannot start: the package {error.name!r} is missing.",
            exit_code=3,
            remedy="Install everything with `pip install 'variegate[all]'`, or use --gateway.",
            reason="PACKAGE_MISSING",
        ) from error


def own_methods() -> list["pb.Method"]:
    """The methods of the system that would start here."""
    methods: list[pb.Method] = module("unstarted").methods()
    return methods


def own_networks() -> list[str]:
    """The networks of timm that the system that would start here can train."""
    networks: list[str] = module("unstarted").networks()
    return networks


def stored_resources(state: "Path") -> Iterable[StoredResource]:
    """What a state folder keeps, which no system works on now."""
    found: Iterable[StoredResource] = module("unstarted").resources(state)
    return found
