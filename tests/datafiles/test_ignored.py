"""What is passed over among images, by one table."""

import pytest

from datafiles.ignored import is_ignored, is_ignored_path


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX",
        "@eaDir",
        "@EADIR",
        "$RECYCLE.BIN",
        "$Recycle.Bin",
        "System Volume Information",
        "Thumbs.db",
        "thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._cat.jpg",
        ".ipynb_checkpoints",
        ".git",
        "~$labels.xlsx",
        "#recycle",
        "lost+found",
        "__pycache__",
    ],
)
def test_what_systems_leave_behind_is_passed_over_wherever_it_lies(name):
    assert is_ignored(name)
    assert is_ignored_path(f"{name}/cat/0.png")
    assert is_ignored_path(f"cat/{name}")


@pytest.mark.parametrize(
    "name", ["_", "cat", "__unknown__", "$", "@", "#1", "~", "001.ak47", "a.b"]
)
def test_classes_and_files_with_odd_names_are_not(name):
    assert not is_ignored(name)
    assert not is_ignored_path(f"./{name}/../{name}/0.png")
