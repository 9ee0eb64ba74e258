"""Finds the files that a table names, however it spells them."""

import posixpath
import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property

from datafiles.suffixes import is_image
from datafiles.texts import Unreadable

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|~")


class NamedFiles:
    """Some paths, "/" between their parts. `moved` counts what was found in another folder."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = dict.fromkeys(paths)
        self.moved = 0

    def find(self, value: object) -> str | None:
        r"""Returns the path that a value of a table names; None if there is no such file.

        It is as the table writes it, or with "\" for "/", or composed otherwise (Unicode); a name
        without folders may be in any folder, and may lack its suffix, if there is only one such
        file. Raises Unreadable: NO_FILE_NAME, OUTSIDE_ROOT for an absolute path or one that leaves
        the folder, AMBIGUOUS_FILE.
        """
        if isinstance(value, Unreadable):
            raise value
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise Unreadable("NO_FILE_NAME", "names no file")
        text = str(value)
        if text in self._paths:
            return text
        if not text.strip():
            raise Unreadable("NO_FILE_NAME", "names no file")
        text = text.strip().replace("\\", "/")
        path = posixpath.normpath(text)
        if _ABSOLUTE.match(text) or path == ".." or path.startswith("../"):
            raise Unreadable(
                "OUTSIDE_ROOT", f"names {text[:200]!r}; write paths within the folder of the table"
            )
        path = unicodedata.normalize("NFC", path)
        if found := self._composed.get(path):
            return found
        return None if "/" in text else self._anywhere(path)

    def _anywhere(self, name: str) -> str | None:
        found = self._by_name.get(name, ())
        if not found and not is_image(name):
            found = self._by_stem.get(name, ())
        if len(found) > 1:
            shown = " and ".join(map(repr, found[:3]))
            raise Unreadable("AMBIGUOUS_FILE", f"names {name!r}, which may be {shown}")
        if found and "/" in found[0]:
            self.moved += 1
        return found[0] if found else None

    @cached_property
    def _composed(self) -> dict[str, str]:
        return {unicodedata.normalize("NFC", path): path for path in self._paths}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for composed, path in self._composed.items():
            found.setdefault(composed.rpartition("/")[2], []).append(path)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, paths in self._by_name.items():
            if is_image(name):
                found.setdefault(name.rpartition(".")[0], []).extend(paths)
        return found
