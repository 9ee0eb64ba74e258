from dataclasses import dataclass
from pathlib import Path

import pytest

from servicekit.settings import SettingsError, load


@dataclass(frozen=True)
class Example:
    folder: Path
    size: int = 3
    rate: float = 0.5
    fast: bool = False
    names: tuple[str, ...] = ()


def test_fields_are_read_with_the_prefix_and_cast():
    environ = {"EX_FOLDER": "/a", "EX_SIZE": "7", "EX_FAST": "yes", "EX_NAMES": "a, b", "OTHER": ""}
    assert load(Example, environ, "EX") == Example(Path("/a"), 7, 0.5, True, ("a", "b"))


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "EX_FOLDER is not set"),
        ({"EX_FOLDER": "/a", "EX_SIZE": "many"}, "EX_SIZE has the value 'many'"),
        ({"EX_FOLDER": "/a", "EX_FAST": "maybe"}, "EX_FAST has the value 'maybe'"),
        ({"EX_FOLDER": "/a", "EX_SPEED": "1"}, "EX_SPEED is not a setting"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(environ, sentence):
    with pytest.raises(SettingsError, match=sentence):
        load(Example, environ, "EX")
