"""Tables of the command line on narrow and wide terminals."""

import io

import pytest
from rich.console import Console

from gateway.cli.tables import table

FIGURES = ("added", "accuracy %", "95 % interval", "balanced %", "gain, balanced")
CELLS = ("1,200", "41.2 ± 0.9", "+7.1 to +12.7", "39.9 ± 1.1", "-10.3 ± 10.4")
LABELS = (
    "mvc",
    "cond_embed_cutmix_dropout",
    "simple (two_phase, randaugment, wrn_28_10, best of 2 by clip_score, 120 a class)",
)


def drawn(width, labels=LABELS):
    shown = table("row", *FIGURES, "by 2 s.e.", right=FIGURES, title="strategy: combined")
    for label in labels:
        shown.add_row(label, *CELLS, "better")
    console = Console(width=width, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_figure_is_cut_or_wrapped_whatever_the_terminal(width):
    lines = drawn(width)
    assert all(len(line) <= width for line in lines)
    for cell in CELLS:
        assert sum(cell in line for line in lines) == len(LABELS), cell
    text = " ".join(" ".join(lines).split())
    assert text.count("strategy: combined") == 1 and text.count("better") == len(LABELS)


def test_names_are_wrapped_between_words_and_stand_beside_every_part(width=60):
    lines = drawn(width)
    words = [line.split()[:1] for line in lines]
    parts = words.count(["row"])
    assert parts > 1 and words.count(["cond_embed_cutmix_dropout"]) == parts
    assert words.count(["mvc"]) == parts and sum("wrn_28_10," in line for line in lines) == parts


def test_what_fits_is_one_table_with_each_row_in_a_line():
    lines = [line for line in drawn(200) if "better" in line]
    assert [line.startswith(label) for line, label in zip(lines, LABELS, strict=True)] == [True] * 3


def test_a_short_name_is_not_wrapped_for_a_long_description():
    shown = table("kind", "what it is", "objects", right=("objects",))
    shown.add_row("generated images", "said at length " * 20, "123,456")
    console = Console(width=80, file=io.StringIO())
    console.print(shown)
    first = console.file.getvalue().splitlines()[2]
    assert first.startswith("generated images  said") and first.rstrip().endswith("123,456")
