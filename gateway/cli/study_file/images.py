"""The keys of a study file about how images are made, and about images that are there already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.failures import CliError
from gateway.cli.image_options import KEYS, AddedRows, ImageOptions, as_rows
from gateway.cli.study_file.nodes import Errors, items, mapping, nearest, number, text
from gateway.cli.test_sets import NAME, NAME_RULE

# As in the gateway's choice.py, which knows what they mean.
_SCORES = ("clip_score", "unsafe_score")


class ImageKeys:
    """Reads them; `folder` is what places are relative to."""

    def __init__(self, folder: Path, errors: Errors) -> None:
        self.folder = folder
        self._errors = errors

    def read(self, nodes: Mapping[str, yaml.Node]) -> dict[str, Any]:
        """The values of those keys that are there, as fields of ImageOptions; faults are noted."""
        readers = {
            "guidance": lambda node: number(node, self._errors, "guidance", float, 0, 30),
            "fill_to": lambda node: number(node, self._errors, "fill_to", int, 1, 1_000_000),
            "negative_prompt": lambda node: text(node, self._errors, "negative_prompt"),
            "make": lambda node: number(node, self._errors, "make", float, 1, 20),
            "keep": self._keep,
        }
        assert {*readers, "like"} == {*KEYS}
        found: dict[str, Any] = {
            name: read(nodes[name]) for name, read in readers.items() if name in nodes
        }
        if "like" in nodes:
            found["accuracies"] = self._like(nodes["like"])
        return {name: value for name, value in found.items() if value is not None}

    def options(
        self,
        node: yaml.Node,
        own: Mapping[str, Any],
        of_all: Mapping[str, Any],
        *,
        is_checked: bool,
    ) -> ImageOptions:
        """Those of a method: its own, and for the others those of the file.

        `is_checked` says whether every image is checked for unsafe content.
        """
        options = ImageOptions(**{**of_all, **own})
        if options.keep == "unsafe_score" and not is_checked:
            self._errors.add(node, "keep: unsafe_score needs check_safety: true.")
        if options.fill_to and options.accuracies:
            self._errors.add(node, "fill_to and like both say how many images each class gets.")
        if bool(options.make) != bool(options.keep):
            self._errors.add(node, "make and keep belong together: 'make: 2, keep: clip_score'.")
        return options

    def _keep(self, node: yaml.Node) -> str | None:
        name = text(node, self._errors, "keep")
        if name is not None and name not in _SCORES:
            self._errors.add(node, f"keep has no score {name!r}.{nearest(name, _SCORES)}")
            return None
        return name

    def _like(self, node: yaml.Node) -> tuple[tuple[str, float | None], ...] | None:
        from gateway.cli.weakness import read_accuracies

        if (place := text(node, self._errors, "like")) is None:
            return None
        try:
            found = read_accuracies(self.folder / Path(place).expanduser()).of_classes
        except CliError as error:
            self._errors.add(node, error.message.removeprefix("--"))
            return None
        return tuple(sorted(found.items()))

    def added(self, node: yaml.Node) -> AddedRows:
        """The rows of images that are there: {name: folder, or a list of folders}."""
        found: dict[str, list[Path]] = {}
        for name, (key, value) in mapping(node, self._errors, "synthetic").items():
            if not NAME.fullmatch(name):
                self._errors.add(key, f"a row cannot be called {name!r}; {NAME_RULE}.")
            places = [
                text(one, self._errors, f"synthetic.{name}")
                for one in items(value, self._errors, f"synthetic.{name}")
            ]
            found[name] = [self.folder / Path(one).expanduser() for one in places if one]
        return as_rows(found)
