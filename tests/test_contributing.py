"""CONTRIBUTING.md is true: what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
# Files that are named without their folder, which the same sentence or paragraph names.
FOLDERS = (
    "",
    "generator/",
    "generator/engine/",
    "gateway/",
    "gateway/durable/",
    "gateway/augment/",
    "retriever/",
    "trainer/",
    "diffusion/families/",
)


def test_every_path_that_it_names_is_there():
    paths = {path for path in re.findall(r"`([\w/.-]+)`", TEXT) if "/" in path or "." in path}
    paths = {path for path in paths if path not in ("utils.py", "service.py")}
    assert len(paths) > 40
    missing = {path for path in paths if not any((ROOT / one / path).exists() for one in FOLDERS)}
    assert missing == set()


def test_every_room_is_in_its_table():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/" not in TEXT} == set()


def test_every_verb_that_it_names_is_one_of_make():
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", TEXT)) <= verbs
