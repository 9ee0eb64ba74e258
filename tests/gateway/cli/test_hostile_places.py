"""Where a command may be run: streams that take nothing, and folders that are gone."""

import os
import subprocess
import sys

import pytest
from command_line import ROOT

COMMANDS = [
    ["augment", "data"], ["train", "data"], ["study", "data"], ["import", "data"], ["up"],
    ["status"], ["cancel", "x"], ["clean"], ["methods"], ["--help"],
]  # fmt: skip


def run(*words, cwd=None, before="", after=""):
    """Runs a command in a shell, which can do to streams and folders what people do."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}"}
    line = " ".join([before, sys.executable, "-m", "gateway.cli.main", *words, after])
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=cwd, env=environ, timeout=60
    )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_current_folder_that_was_deleted_is_told(tmp_path, words):
    done = run(*words, cwd=tmp_path, before="mkdir gone; cd gone; rmdir ../gone;")
    assert "Traceback" not in done.stderr and "should not happen" not in done.stderr
    if words[0] in ("methods", "--help"):
        assert done.returncode == 0
    else:
        assert done.returncode == 3, done.stderr
        said = ("no longer exists", "does not exist", "No system")
        assert any(words in done.stderr for words in said)


@pytest.mark.parametrize("words", [["methods"], ["methods", "--json"], ["--help"]], ids=" ".join)
def test_an_output_that_takes_nothing_more_is_no_success(words):
    done = run(*words, after="> /dev/full")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [["methods"], ["methods", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_leaves_ends_it_without_a_word(words):
    done = run(*words, after="| true")
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_closed_streams_are_no_fault(closed):
    done = run("methods", after=closed)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "before", ["env -u TERM", "env TERM=dumb LC_ALL=C", "env PYTHONIOENCODING=ascii", "env -u HOME"]
)
def test_no_terminal_language_or_home_is_needed(before):
    for words in (["methods"], ["--help"], ["augment", "--help"]):
        assert run(*words, before=before).returncode == 0
    done = run("augment", "Zürich", before=before)
    assert done.returncode == 3
    assert "does not exist" in done.stderr
