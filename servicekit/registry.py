"""Finds what is registered: the files of a package that each name what they add.

Registering is adding a file to the package, or a row to a table in one: a module-level name, which
is the same in all files of a package, holds one thing or a tuple of them.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

# Files beside those that register something.
_OTHERS = {"base", "registry"}


def module_names(folder: Path) -> list[str]:
    """Returns the names of the modules of a folder that may register something, sorted."""
    found = (module.name for module in pkgutil.iter_modules([str(folder)]) if not module.ispkg)
    return sorted(name for name in found if name not in _OTHERS)


@cache
def registered(package: ModuleType, name: str, key: str = "id") -> Mapping[str, Any]:
    """Returns what the modules of `package` call `name`, by the attribute `key` of each, sorted.

    Imports every module. Raises RuntimeError if two have the same key.
    """
    found: dict[str, Any] = {}
    for one in _all(package, name):
        if getattr(one, key) in found:
            raise RuntimeError(
                f"{package.__name__} has two of the {key} {getattr(one, key)!r}; rename one"
            )
        found[getattr(one, key)] = one
    return MappingProxyType(dict(sorted(found.items())))


def _all(package: ModuleType, name: str) -> Iterator[Any]:
    for module in module_names(Path(package.__path__[0])):
        found = getattr(importlib.import_module(f"{package.__name__}.{module}"), name, ())
        yield from found if isinstance(found, tuple) else (found,)
