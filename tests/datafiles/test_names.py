"""Class names: one spelling for what looks the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datafiles.names import clean_name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("dog ", "dog"),
        ("\tdog\r\n", "dog"),
        ("\ufeffcat", "cat"),
        ("fire\u00a0truck", "fire truck"),
        ("fire  truck", "fire truck"),
        ("ca\u200bt", "cat"),
        ("Zu\u0308rich", "Zürich"),
        ("_", "_"),
        ("Cat", "Cat"),
        ("خانه\u200cها", "خانه\u200cها"),
        (" \ufeff ", ""),
    ],
)
def test_names_that_look_the_same_are_the_same(given_name, name):
    assert clean_name(given_name) == name


@given(st.text())
def test_a_clean_name_is_clean_and_the_same_for_every_composition(text):
    name = clean_name(text)
    assert clean_name(name) == name
    assert clean_name(unicodedata.normalize("NFD", text)) == name
    assert name == name.strip()
