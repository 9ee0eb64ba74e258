"""Tables of people: whatever they hold, rows or a reason come out."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datafiles.named_files import NamedFiles
from datafiles.tables import open_table
from datafiles.texts import Unreadable

_lines = st.sampled_from(
    [
        b"file_name,label",
        b"a.png,cat",
        b'"a","b',
        b'{"file_name": "a"}',
        b"[[",
        b"\xff",
        b"\x00",
        b"",
    ]
)
_data = st.one_of(st.binary(max_size=40), st.lists(_lines, max_size=6).map(b"\n".join))
_marks = st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
@given(mark=_marks, data=_data)
def test_whatever_a_table_holds_it_is_read_or_refused(name, mark, data):
    file = io.BytesIO(mark + data)
    try:
        with open_table(name, file) as table:
            for _, row in table.rows:
                assert isinstance(row, (dict, Unreadable))
    except Unreadable as error:
        assert error.reason and error.message
    assert not file.closed


_parts = st.sampled_from(["a", "b.png", "..", ".", "", "é", "e\u0301", "\\", "C:", "~"])
_names = st.lists(_parts, min_size=1, max_size=4).map("/".join)


@given(st.lists(_names, max_size=4), _names)
def test_a_name_leads_to_one_of_the_files_that_are_there_or_nowhere(paths, name):
    try:
        found = NamedFiles(paths).find(name)
    except Unreadable as error:
        assert error.reason in ("OUTSIDE_ROOT", "NO_FILE_NAME", "AMBIGUOUS_FILE")
        return
    assert found is None or found in paths


@pytest.mark.parametrize("name", [None, float("nan"), True, 1.5, ["a"], b"a", "", "  "])
def test_what_names_no_file_is_refused(name):
    with pytest.raises(Unreadable, match="names no file"):
        NamedFiles(["a"]).find(name)
