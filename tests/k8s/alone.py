"""Imports a service with nothing but what its image holds.

python -m tests.k8s.alone SERVICE [MODULE ...]; the modules are others that its image needs.

Everything else that is installed here is out of reach, whoever asks for it.
"""

import importlib
import re
import sys
import tomllib
from importlib import metadata

from packaging.requirements import Requirement

from images.requirements import requirements
from tests.k8s.rendered import ROOT


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def held(lines):
    """Returns the names of all that these requirements install, with what those require."""
    found, waiting = set(), [Requirement(line) for line in lines]
    while waiting:
        one = waiting.pop()
        extras = one.extras or {""}
        for extra in extras:
            if (key := (plain(one.name), extra)) in found:
                continue
            found.add(key)
            try:
                needed = metadata.requires(one.name) or ()
            except metadata.PackageNotFoundError:
                continue
            for line in map(Requirement, needed):
                if line.marker is None or line.marker.evaluate({"extra": extra}):
                    waiting.append(line)
    return {name for name, _ in found}


class OutOfReach:
    """Finds nothing, and lets nobody find what the image lacks."""

    def __init__(self, names):
        self.names, self.owners = names, metadata.packages_distributions()

    def find_spec(self, name, path=None, target=None):
        owners = {plain(one) for one in self.owners.get(name.partition(".")[0], ())}
        if owners and not owners & {*self.names, "variegate"}:
            raise ModuleNotFoundError(f"the image has no {name} ({', '.join(owners)})", name=name)


def hide(names):
    """Lets no library find out that others are installed: some import what is."""
    find = metadata.distribution

    def distribution(name):
        if plain(name) not in {*names, "variegate"}:
            raise metadata.PackageNotFoundError(name)
        return find(name)

    metadata.distribution = distribution


def main(service, *modules):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = held(requirements(project, service))
    for module in list(sys.modules):
        if module.partition(".")[0] in ("yaml", "packaging"):
            del sys.modules[module]
    sys.meta_path.insert(0, OutOfReach(names))
    hide(names)
    for module in (f"{service}.__main__", f"{service}.wiring", *modules):
        importlib.import_module(module)
    print(len(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
