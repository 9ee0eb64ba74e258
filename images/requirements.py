"""What a service needs of others, from pyproject.toml.

The Dockerfiles name it, and so do not depend on that file: a large layer stays as it is until what
it holds changes.
"""

import re
from collections.abc import Iterator
from typing import Any


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """Returns the dependencies of all and those of an extra, with the extras that it names."""
    return [*project["dependencies"], *own_requirements(project, extra)]


def own_requirements(project: dict[str, Any], extra: str) -> list[str]:
    """Returns what an extra needs beside the dependencies of all."""
    return list(_of_extra(project, extra))


def _of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    for line in project["optional-dependencies"].get(extra, ()):
        if named := re.fullmatch(rf"{project['name']}\[(.+)\]", line):
            for one in named[1].split(","):
                yield from _of_extra(project, one)
        else:
            yield line
