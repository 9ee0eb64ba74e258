"""Which images a study file has a study train on, choose by and test with."""

import pytest

from gateway.cli.arguments import TrainingRecipe
from gateway.cli.subset import Subset
from tests.gateway.cli.study_file.reading import errors_of, read


def test_what_goes_by_validation_images_needs_some(tmp_path, known):
    text = "methods: mvc\ntraining:\n  schedule: plateau\n  choose: best\n"
    training = read(tmp_path, text + "protocol: {validation: 0.2}\n", known).training
    assert training == TrainingRecipe(schedule="plateau", choose="best")
    assert read(tmp_path, text, known, data="dataset:kept").training == training
    assert [line for line, _ in errors_of(tmp_path, text, known)] == ["3", "4"]
    wrong = (
        "methods: mvc\nbudget: passes\ntraining:\n  steps: 9\n  schedule: plato\n  choose: first\n"
    )
    found = errors_of(tmp_path, wrong, known)
    assert [line for line, _ in found] == ["5", "6"]
    assert "no schedule 'plato'. Did you mean 'plateau'?" in found[0][1]
    passes = text.replace("choose: best", "steps: 9") + "protocol: {validation: 0.2}\n"
    [[line, said]] = errors_of(tmp_path, passes + "budget: passes\n", known)
    assert line == "3" and "use the budget 'steps'" in said


def test_each_seed_can_have_a_subset_of_its_own(tmp_path, known):
    text = "methods: mvc\nprotocol: {shots: 5, subset_seeds: %s}\n"
    args = read(tmp_path, text % "4", known)
    assert (args.subset_seeds, args.seeds) == ((0, 1, 2, 3), (0, 1, 2, 3))
    args = read(tmp_path, text % "[7, 1_0]" + "seeds: 2\n", known)
    assert (args.subset_seeds, args.seeds) == ((7, 10), (0, 1))
    assert args.subset.draws(args.subset_seeds) == [Subset(5, subset_seed=s) for s in (7, 10)]
    assert "subset_seeds" not in read(tmp_path, "methods: mvc\n", known)._content()
    for wrong, line, words in (
        (text % "[1, 1]", "2", "a list of different seeds"),
        (text % "1", "2", "must be 2 to 100 draws"),
        (text % "3, subset_seed: 2", "2", "both say which images are drawn"),
        (text % "3" + "seeds: 5\n", "3", "5 seeds for 3 subset_seeds"),
        ("methods: mvc\nprotocol: {subset_seeds: 3}\n", "2", "draws nothing"),
    ):
        [[at, said]] = errors_of(tmp_path, wrong, known)
        assert at == line and words in said, said


def test_further_test_sets_are_named_and_relative_to_the_file(tmp_path, known):
    args = read(tmp_path, "methods: mvc\ntests: {sketch: ./drawn, art: store:art}\n", known)
    assert args.test_sets == (("sketch", str(tmp_path / "drawn")), ("art", "store:art"))
    plain = read(tmp_path, "methods: mvc\n", known)
    assert "test_sets" not in plain._content(), "the ids of studies without any stay as they were"
    found = errors_of(tmp_path, "methods: mvc\ntests:\n  a b: ./x\n  c: []\n", known)
    assert [line for line, _ in found] == ["3", "4"]
    assert "cannot be called 'a b'; 1 to 64 of letters" in found[0][1]


@pytest.mark.parametrize(
    ("protocol", "subset"),
    [
        ("{fraction: 0.1, subset_seed: 3}", Subset(fraction=0.1, subset_seed=3)),
        ("{labels: 4_000, validation: 0.1}", Subset(labels=4000, validation=0.1)),
        ("{long_tail: 100, head_count: 500}", Subset(long_tail=100.0, head_count=500)),
        ("{class_counts: {cat: 3, dog: 1}}", Subset(class_counts={"cat": 3, "dog": 1})),
        ("{class_counts: counts.txt}", Subset(class_counts={"cat": 5, "dog": 2})),
    ],
)
def test_a_protocol_says_which_images_are_used(tmp_path, known, protocol, subset):
    (tmp_path / "counts.txt").write_text("cat = 5\ndog = 2\n")
    args = read(tmp_path, f"methods: mvc\nprotocol: {protocol}\n", known)
    assert args.subset == subset


def test_errors_of_a_protocol_are_told_with_all_others(tmp_path, known):
    text = """\
methods: mvc
protocol:
  shots: 5
  fraction: 2
  labels: 10
  head_count: 3
  class_count: counts.txt
  class_counts: {cat: none}
  validation: 0.7
"""
    found = errors_of(tmp_path, text, known)
    assert [line for line, _ in found] == ["4", "5", "6", "7", "8", "9"]
    said = " ".join(text for _, text in found)
    for words in (
        "fraction must be a number from 1e-06 to 1 and is '2'",
        "'shots' and 'labels' both say how many images are drawn; keep one",
        "'head_count' belongs to a long tail; add 'long_tail'",
        "protocol has no key 'class_count'. Did you mean 'class_counts'?",
        "the count of 'cat' must be a whole number from 1 to 1,000,000 and is 'none'",
        "validation must be a number from 1e-06 to 0.5 and is '0.7'",
    ):
        assert words in said, words
    text = "methods: mvc\nprotocol:\n  subset_seed: 3\n"
    assert errors_of(tmp_path, text, known)[0][1].startswith("'subset_seed' draws nothing")
    text = "methods: mvc\nprotocol:\n  class_counts: nowhere.txt\n"
    assert "nowhere.txt cannot be read" in errors_of(tmp_path, text, known)[0][1]
