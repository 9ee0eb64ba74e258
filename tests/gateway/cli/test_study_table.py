"""The table that `variegate study` prints, of the study of photographs that is kept here."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gateway.cli.work.study import _print
from gateway.export.results import StudyResults

STUDY = Path(__file__).parents[3] / "studies" / "cifar10" / "k010" / "results.json"


@pytest.fixture
def results():
    return StudyResults.from_json(STUDY.read_text())


def printed(results):
    console = Console(width=80, file=io.StringIO())
    _print(console, results, Path("out"))
    return console.file.getvalue()


def test_names_and_accuracies_are_whole_on_a_narrow_terminal(results):
    lines = [line.split() for line in printed(results).splitlines()]
    for row in results.rows:
        accuracy = f"{100 * row.mean_accuracy:.1f}"
        assert any(line[:1] == [row.label] and accuracy in line for line in lines), row.label


def test_a_strategy_that_all_methods_have_is_said_once(results):
    assert printed(results).count("combined") == 1
    rows = [replace(row, strategy="rsp") if row.method == "mvc" else row for row in results.rows]
    assert printed(replace(results, rows=tuple(rows))).count("combined") > 5


def test_the_classes_that_got_worse_are_named_under_the_table(results):
    text = printed(results)
    assert "cond_dropout: classes that got worse: cat -1.4\n" in text
    assert "\nmvc: classes" not in text
