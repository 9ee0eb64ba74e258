"""Finds strategies, policies, jobs and parts of tunings: each module of their folders is one.

The server lists them without importing them, so it does not load torch: a recipe's id is its
file name, its description the first line of its docstring, and its facts the upper-case literals
of the module (`SOURCE`, `NEEDS_SYNTHETIC` and others, see `Recipe`). Classifiers are rows of a
table (`classifiers.table`).
"""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from servicekit.registry import module_names
from trainer.syntax import tree_of

Kind = Literal["strategies", "policies", "jobs", "texts", "networks"]

# Of the parts of tunings.
_FOLDERS: Mapping[str, str] = {"texts": "tunings/texts", "networks": "tunings/networks"}


@dataclass(frozen=True)
class Recipe:
    """One file of a recipe folder, as far as its source tells without running it."""

    id: str
    description: str
    facts: Mapping[str, object]

    @property
    def source(self) -> str:
        """The paper and section; empty if it is ours."""
        return str(self.facts.get("SOURCE", ""))

    @property
    def needs_synthetic(self) -> bool:
        """Whether the strategy makes no sense without synthetic images."""
        return bool(self.facts.get("NEEDS_SYNTHETIC", False))

    @property
    def needs_batch_norm(self) -> bool:
        """Whether the strategy cannot train a classifier without batch norm."""
        return bool(self.facts.get("NEEDS_BATCH_NORM", False))

    @property
    def has_own_pace(self) -> bool:
        """Whether the strategy has learning rates of its own, which no other schedule replaces."""
        return bool(self.facts.get("HAS_OWN_PACE", False))

    @property
    def smallest_batch(self) -> int:
        """The fewest images of a batch, of each process, that the strategy can train on."""
        return int(str(self.facts.get("SMALLEST_BATCH", 2)))

    @property
    def needs_search(self) -> bool:
        """Whether the policy has to be found on the run's own images before it is used."""
        return bool(self.facts.get("NEEDS_SEARCH", False))

    @property
    def mixes(self) -> bool:
        """Whether the policy mixes the images of a batch, after another has changed them."""
        return bool(self.facts.get("MIXES", False))

    def sees_whole(self, image_size: int) -> bool:
        """Whether the policy changes whole pictures at this size, and not their middle squares."""
        least = self.facts.get("WHOLE_FROM")
        return least is not None and image_size >= int(str(least))


@cache
def recipes(kind: Kind) -> Mapping[str, Recipe]:
    """The recipes of one folder by id, sorted."""
    folder = Path(__file__).parent / _FOLDERS.get(kind, kind)
    return {name: _describe(folder / f"{name}.py") for name in module_names(folder)}


def load(kind: Kind, recipe_id: str) -> ModuleType:
    """Imports a recipe's module. Raises KeyError for an unknown id."""
    folder = _FOLDERS.get(kind, kind).replace("/", ".")
    return importlib.import_module(f"trainer.{folder}.{recipes(kind)[recipe_id].id}")


def _describe(file: Path) -> Recipe:
    tree = tree_of(file)
    description = (ast.get_docstring(tree) or "").partition("\n")[0]
    facts: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id.isupper():
                    facts[target.id] = node.value.value
    return Recipe(file.stem, description, facts)
