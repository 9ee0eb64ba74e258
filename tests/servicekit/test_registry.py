"""What is registered is found in the files of a package, alone or as rows of a table."""

import importlib
import sys
from pathlib import Path

import pytest

from servicekit.registry import module_names, registered

FILES = {
    "__init__": "",
    "base": "THING = None  # never looked at",
    "registry": "raise AssertionError('half imported when it looks')",
    "alone": "class THING: id = 'b'",
    "table": "from types import SimpleNamespace as N\nTHING = (N(id='c'), N(id='a'))",
    "other": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package and imports it."""

    def write(**files):
        folder = tmp_path / "things_to_find"
        folder.mkdir()
        for name, text in (FILES | files).items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(folder.name)

    yield write
    for name in [one for one in sys.modules if one.startswith("things_to_find")]:
        del sys.modules[name]


def test_a_file_or_a_row_of_a_table_is_registered_and_what_stands_beside_them_is_not(package):
    found = package()
    assert list(registered(found, "THING")) == ["a", "b", "c"]
    assert module_names(Path(found.__path__[0])) == [
        "alone",
        "other",
        "table",
    ]


def test_two_of_one_id_are_an_error(package):
    with pytest.raises(RuntimeError, match="two of the id 'a'; rename one"):
        registered(package(copy="class THING: id = 'a'"), "THING")
