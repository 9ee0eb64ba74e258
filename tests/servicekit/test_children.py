"""A child takes its code from where we say, never from the folder that it runs in."""

import os
import subprocess

import pytest

from servicekit.children import python_command, python_environment

RAN = "raise SystemExit('the user\\'s file ran')"


@pytest.mark.parametrize("inherited", ["", ".", ":", "own", "/nowhere:", ":./own:/nowhere"])
def test_what_means_the_current_folder_leaves_the_path(tmp_path, inherited):
    environment = python_environment({"PYTHONPATH": inherited, "A": "b"}, tmp_path)
    entries = environment["PYTHONPATH"].split(os.pathsep)
    assert entries == [str(tmp_path), *(["/nowhere"] if "/nowhere" in inherited else [])]
    assert environment["A"] == "b"


@pytest.mark.parametrize("inherited", ["", ".", ":"])
@pytest.mark.parametrize("name", ["mine", "random", "json"])
def test_a_module_of_the_same_name_in_the_current_folder_is_not_run(tmp_path, name, inherited):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    (ours / "mine").mkdir(parents=True)
    (ours / "mine" / "__init__.py").touch()
    (ours / "mine" / "tool.py").write_text("import json, random, sys; print(sys.argv[1])")
    theirs.mkdir()
    (theirs / f"{name}.py").write_text(RAN)
    environ = {**os.environ, "PYTHONPATH": inherited}
    done = subprocess.run(
        python_command("mine.tool", "ours ran"),
        env=python_environment(environ, ours),
        cwd=theirs,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ours ran\n", "")
