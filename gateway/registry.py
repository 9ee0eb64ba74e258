"""Finds variants that are one file each, so that adding one is adding a file."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any


def scan(package: ModuleType, attribute: str) -> dict[str, Any]:
    """Returns `attribute` of every module of `package` that has it, by its `id`, sorted."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        variant = getattr(importlib.import_module(module.name), attribute, None)
        if variant is None:
            continue
        if variant.id in found:
            raise RuntimeError(f"two files of {package.__name__} have the id {variant.id!r}")
        found[variant.id] = variant
    return dict(sorted(found.items()))
