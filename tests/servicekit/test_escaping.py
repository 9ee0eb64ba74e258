"""Names of strangers, made safe to show."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.escaping import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m.png", r"\x1b[31mred\x1b[0m.png"),
        ("a\nb\tc\r", r"a\x0ab\x09c\x0d"),
        ("\x9b31m", r"\x9b31m"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("a\u2028b\u2066c", r"a\u2028b\u2066c"),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_obeys_or_no_encoding_holds_is_spelled(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize("text", ["Zürich", "熊 (bear)", "👩‍👩‍👧", "می‌خواهم", r"a\b", "it's [x]"])
def test_names_that_people_give_stay_as_they_are(text):
    assert escaped(text) == text


@given(st.text(st.characters(codec=None)))
def test_what_is_escaped_can_be_encoded_is_one_line_and_stays(text):
    shown = escaped(text)
    shown.encode("utf-8")
    assert "\x1b" not in shown and len(shown.splitlines()) <= 1
    assert escaped(shown) == shown


def test_line_ends_stay_where_asked_for():
    assert escaped("a\nb\x1b\u2028", lines=True) == "a\nb\\x1b\\u2028"
