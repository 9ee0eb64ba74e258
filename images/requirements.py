"""Prints what a service needs of others, a requirement a line: python requirements.py SERVICE.

It reads pyproject.toml beside it. What is installed does not depend on our own code then, so that
an image's large layer stays as it is when that changes.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """Returns the dependencies of all and those of an extra, with the extras that it names."""
    return [*project["dependencies"], *_of_extra(project, extra)]


def _of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    for line in project["optional-dependencies"].get(extra, ()):
        if named := re.fullmatch(rf"{project['name']}\[(.+)\]", line):
            for one in named[1].split(","):
                yield from _of_extra(project, one)
        else:
            yield line


if __name__ == "__main__":
    path = Path(__file__).parent / "pyproject.toml"
    print(*requirements(tomllib.loads(path.read_text())["project"], sys.argv[1]), sep="\n")
