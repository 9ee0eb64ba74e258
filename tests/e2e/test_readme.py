"""The README's tour, as printed but for smaller numbers."""

import re
import shlex

import pytest
from command_line import ROOT

LESS = ["--train-steps", "20", "--seeds", "1"]
SMALLER = {"augment": [], "train": LESS, "study": LESS}


def tour() -> list[str]:
    section = (ROOT / "README.md").read_text().split("## Your own images")[1].split("\n##")[0]
    [block] = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return block.strip().splitlines()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tour_of_the_readme_works_as_printed(variegate, photographs, tmp_path):
    (tmp_path / "my-images").symlink_to(photographs / "train")
    (tmp_path / "my-test-images").symlink_to(photographs / "test")
    commands = tour()
    assert [shlex.split(line)[1] for line in commands] == ["augment", "train", "study"]
    for line in commands:
        words = shlex.split(line.replace("--per-class 100", "--per-class 4"))[1:]
        finished = variegate(*words, *SMALLER[words[0]])
        assert finished.code == 0, (line, finished.err)
    assert len(list((tmp_path / "augmented").rglob("*.png"))) == 12
    assert (tmp_path / "study" / "report.html").stat().st_size > 10_000
