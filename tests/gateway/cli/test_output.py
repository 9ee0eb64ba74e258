"""What the command line prints is safe for a terminal, and says its version."""

import json

from hypothesis import given
from hypothesis import strategies as st

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
