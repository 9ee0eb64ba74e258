"""What the command line prints is safe for a terminal, and says its version."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli.terminal import SafeConsole
from servicekit.escaping import escaped, json_text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_reads_back_and_holds_nothing_that_a_terminal_obeys(text):
    shown = json_text({text: [text]})
    assert json.loads(shown) == {text: [text]}
    assert escaped(shown, lines=True) == shown


def test_json_keeps_letters_and_spells_controls():
    assert json_text(["Zürich\x9b\u202e\udcff"], indent=None) == '["Zürich\\u009b\\u202e\\udcff"]'


def test_the_version_is_told(variegate):
    answer = variegate("--version")
    assert answer.code == 0
    assert answer.out.startswith("variegate ")


def test_clean_refuses_a_state_that_is_in_use_and_one_that_is_not_there(variegate, tmp_path):
    import fcntl

    missing = variegate("clean", "--state", tmp_path / "none", "--yes")
    assert missing.code == 3
    (tmp_path / "st").mkdir()
    with (tmp_path / "st" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = variegate("clean", "--state", tmp_path / "st", "--yes", "--json")
    assert busy.code == 3
    assert busy.document["error"]["reason"] == "STATE_IN_USE"
    (tmp_path / "st" / "variegate.log").write_text("old")
    assert variegate("clean", "--state", tmp_path / "st", "--yes").code == 0
    assert not (tmp_path / "st" / "variegate.log").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_no_name_reaches_the_terminal_as_a_command(terminal):
    name = "cat\x1b[2J\x1b]0;owned\x07 \u202etac"
    written = io.StringIO()
    colours = "standard" if terminal else None
    safe = SafeConsole(file=written, color_system=colours, width=120, highlight=False)
    table = Table("class", "images")
    table.add_row(Text(name), "3", style="bold")
    for one in (name, Text(name), escape(name), table, Panel(name)):
        safe.print(one, soft_wrap=True)
    text = written.getvalue()
    assert "\x1b[2J" not in text and "\x1b]0" not in text and "\u202e" not in text
    assert text.count("\\x1b[2J") == 5
    assert ("\x1b[1m" in text) is terminal, "styles are rich's own"
