"""Study files: what they mean, and every error at once with its line."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import recipes
from gateway.cli.arguments import Expected, TrainingRecipe
from gateway.cli.failures import CliError
from gateway.cli.grid import counts_of, study_of
from gateway.cli.root import own_methods
from gateway.cli.study_file.names import Known
from gateway.cli.subset import Subset
from tests.gateway.cli.study_file.reading import errors_of, read

WHOLE = """\
name: birds
about: Does mixing beat prompts?
data: ./birds
test: store:birds/test
expect: {classes: 2, images: 40}
protocol: {shots: 20}
methods:
  - simple
  - mvc: {coarse_steps: 4}
strategies: [combined, two_phase]
policies: [none, randaugment]
classifiers: wrn_28_2
ratios: [0.5, 2]
seeds: [3, 5]
training: {steps: 1_000, learning_rate: 1e-2}
budget: passes
"""


def test_every_key_is_read(tmp_path, known):
    args = read(tmp_path, WHOLE, known)
    assert args.source == str(tmp_path / "birds"), "places are relative to the file"
    assert args.test == "store:birds/test" and args.pool is None
    assert args.methods == (("simple", {}), ("mvc", {"coarse_steps": "4"}))
    assert args.strategies == ("combined", "two_phase")
    assert (args.policies, args.classifiers) == (("none", "randaugment"), ("wrn_28_2",))
    assert (args.ratios, args.per_class, args.seeds) == ((0.5, 2.0), (), (3, 5))
    assert args.training == TrainingRecipe(step_count=1000, learning_rate=0.01)
    assert (args.budget, args.subset, args.name) == ("passes", Subset(20), "birds")
    assert args.expected == Expected(2, 40)
    assert read(tmp_path, WHOLE, known, data="other").source == "other"


def test_the_rows_are_everything_with_everything(tmp_path, known):
    args = read(tmp_path, WHOLE, known)
    study = study_of(args, args.methods, "datasets/d", "", counts_of(args, 2, 40))
    assert len(study.arms) == 2 * 2 * 2 * 2 and study.images_per_class == 40
    assert {arm.images_per_class for arm in study.arms} == {0, 10}
    assert {(arm.policy, arm.classifier) for arm in study.arms} == {
        ("none", ""),
        ("randaugment", ""),
    }
    assert study.training.classifier == "wrn_28_2" and study.training.step_count == 1000
    assert study.budget == pb.TRAINING_BUDGET_PASSES and list(study.seeds) == [3, 5]


def test_all_errors_are_told_at_once_each_with_its_line_and_the_nearest_key(tmp_path, known):
    text = """\
nam: birds
methods:
  - simpel
  - mvc: {coarse_step: 4}
  - mvc: {coarse_steps: 4000}
strategies: [real, two_phases]
policies: [standard, standard]
ratios: [0, nan]
seeds: 0
training:
  step: 10
  batch_size: 1
budget: epochs
expect: {classes: 3}
protocol: {shots: many}
deterministic: perhaps
"""
    found = errors_of(tmp_path, text, known)
    assert [line for line, _ in found] == [
        *["1", "3", "4", "5", "6", "6", "7", "8", "8", "9", "11", "12", "13", "14", "15", "16"]
    ]
    said = " ".join(text for _, text in found)
    for words in (
        "no key 'nam'. Did you mean 'name'?",
        "no method 'simpel'. Did you mean 'simple'?",
        "no parameter 'coarse_step'. Did you mean 'coarse_steps'?",
        "must be an integer in [0, 1000]",
        "'real' uses no added images",
        "no strategy 'two_phases'. Did you mean 'two_phase'?",
        "policies has 'standard' twice",
        "must be a number from 0.01 to 1,000 and is 'nan'",
        "seeds must be a whole number from 1 to 100",
        "training has no key 'step'. Did you mean 'steps'?",
        "batch_size must be a whole number from 2 to 4,096",
        "no budget 'epochs'",
        "expect needs both",
        "shots must be a whole number from 1 to 1,000,000 and is 'many'",
        "must be true or false",
    ):
        assert words in said, words


def test_a_network_that_timm_lacks_is_told_at_its_line(tmp_path, known):
    text = "methods: mvc\nclassifiers:\n  - timm:resnet50\n  - timm:resnet5O\n  - timm:zzz\n"
    found = errors_of(tmp_path, text, known)
    assert [line for line, _ in found] == ["4", "5"]
    assert found[0][1].startswith("timm has no network 'resnet5O'; it has resnet50")
    assert found[1][1] == "timm has no network 'zzz'."


def test_a_system_elsewhere_says_which_networks_it_has(tmp_path):
    listed = pb.ListTrainingRecipesResponse(timm_networks=["tiny_net"])
    elsewhere = Known(own_methods(), recipes.of_trainer(listed))
    text = "methods: mvc\nclassifiers: [timm:tiny_net, timm:resnet50]\n"
    [[line, said]] = errors_of(tmp_path, text, elsewhere)
    assert line == "2" and said == "timm has no network 'resnet50'."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("methods: [mvc\n", ":2 is no YAML"),
        ("- mvc\n", "must be keys with values"),
        ("name: x\n", "needs the key 'methods'"),
        ("methods: []\n", "an empty list"),
        ("methods: mvc\nmethods: simple\n", "given twice; the first is in line 1"),
        ("methods: mvc\nratios: 1\nper_class: 3\n", "keep one"),
        ("methods: mvc\nbudget: passes\n", "needs the baseline's steps"),
        ("methods: [[mvc]]\n", "must be a text"),
        ("methods: [{mvc: {}, simple: {}}]\n", "a method is its id"),
        ("methods: !!python/object:os.system mvc\nratio: 1\n", "no key 'ratio'"),
        ("a: &a [mvc]\nmethods: &b [*a]\n", "no key 'a'"),
    ],
)
def test_what_is_no_study_is_refused_with_a_sentence(tmp_path, known, text, said):
    with pytest.raises(CliError, match=r"study\.yaml") as caught:
        read(tmp_path, text, known)
    assert said in caught.value.message


def test_a_file_that_stands_for_millions_of_values_is_refused(tmp_path, known):
    levels = ["a0: &a0 [" + ", ".join(["1"] * 50) + "]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 50)}]" for n in range(1, 6)]
    text = "\n".join(levels) + "\nratios: *a5\nmethods: [" + ", ".join(["mvc"] * 30_000) + "]\n"
    with pytest.raises(CliError, match="more than 20,000 values"):
        read(tmp_path, text, known)


def test_keys_are_set_for_a_run_and_their_faults_name_the_option(tmp_path, known):
    sets = ("training.steps=7", "seeds=[4]", "protocol={shots: 2}", "deterministic=true")
    args = read(tmp_path, WHOLE, known, overrides=sets)
    assert (args.training.step_count, args.seeds, args.deterministic) == (7, (4,), True)
    assert args.training.learning_rate == 0.01, "what is not set stays"
    with pytest.raises(CliError) as caught:
        read(tmp_path, WHOLE, known, overrides=("training.step=7", "seeds=0"))
    assert "--set training.step=7: training has no key 'step'" in caught.value.message
    assert "--set seeds=0: seeds must be" in caught.value.message
    for wrong in ("seeds", "seeds=", "seeds=[1,", "name.first=x"):
        with pytest.raises(CliError, match="--set"):
            read(tmp_path, WHOLE, known, overrides=(wrong,))
