"""Study files: what they mean, and every error at once with its line."""

import json

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import recipes
from gateway.cli.arguments import Expected, TrainingRecipe
from gateway.cli.failures import CliError
from gateway.cli.grid import counts_of, study_of
from gateway.cli.image_options import KEYS
from gateway.cli.root import own_methods
from gateway.cli.study_file.names import Known
from gateway.cli.study_file.schema import read_study
from gateway.cli.subset import Subset

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


@pytest.fixture(scope="module")
def known():
    return Known(own_methods())


def read(tmp_path, text, known, **places):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return read_study(file, known, **places)


def errors_of(tmp_path, text, known):
    with pytest.raises(CliError) as caught:
        read(tmp_path, text, known)
    lines = caught.value.message.splitlines()[1:]
    prefix = f"{tmp_path / 'study.yaml'}:"
    assert all(line.startswith(prefix) for line in lines), lines
    return [line.removeprefix(prefix).split(": ", 1) for line in lines]


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


def test_a_study_file_leads_to_the_study_that_its_flags_do(variegate, gateway, photos, tmp_path):
    at = ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri(), "--plan"]
    file = tmp_path / "study.yaml"
    file.write_text(
        "methods: mvc\nper_class: 7\nseeds: 2\nprotocol: {validation: 0.2, subset_seeds: 2}\n"
        "training: {steps: 9, choose: best, schedule: plateau}\n"
    )
    given = ["--data", photos, "--test", photos]
    answer = variegate("study", file, *given, *at)
    assert answer.code == 0, answer.err
    by_file = gateway.planned[-1]
    flags = ["--methods", "mvc", "--per-class", 7, "--seeds", 2, "--train-steps", 9]
    flags += ["--choose", "best", "--schedule", "plateau"]
    answer = variegate("study", photos, "--test", photos, *flags)
    assert answer.code == 2 and "--schedule plateau goes by validation images" in answer.err
    flags += ["--validation", 0.2, "--subset-seeds", 2]
    answer = variegate("study", photos, "--test", photos, *flags, *at)
    assert answer.code == 0, answer.err
    assert gateway.planned[-1] == by_file
    assert by_file.images_per_class == 7 and by_file.training.step_count == 9
    drawn = [one.source for one in gateway.requests if isinstance(one, pb.ImportDatasetRequest)]
    assert [one.protocol.seed for one in drawn] == [0, 1, 0, 1]
    assert len({*by_file.seed_datasets}) == 2 and by_file.dataset == by_file.seed_datasets[0]
    assert "subsets  2, each seed with one of its own: subset seeds 0, 1" in answer.out


def test_how_images_are_read_and_called_is_said_beside_a_study_file(
    variegate, gateway, photos, tmp_path
):
    file, names = tmp_path / "study.yaml", tmp_path / "names.csv"
    file.write_text("methods: mvc\n")
    names.write_text("cat,house cat\n")
    at = ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri(), "--plan"]
    given = ["--data", photos, "--test", photos, "--names", names, "--layout", "classes"]
    answer = variegate("study", file, *given, *at)
    assert answer.code == 0, answer.err
    source = next(one.source for one in gateway.requests if hasattr(one, "source"))
    assert dict(source.display_names) == {"cat": "house cat"}
    assert source.layout == pb.FOLDER_LAYOUT_CLASSES


def test_flags_that_say_what_the_file_says_are_refused(variegate, photos, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("methods: mvc\n")
    answer = variegate("study", file, "--data", photos, "--seeds", 3, "--methods", "mvc")
    assert answer.code == 2 and "--methods, --seeds cannot be given beside" in answer.err
    answer = variegate("study", photos, "--data", photos)
    assert answer.code == 2 and "--data is about a study file" in answer.err
    answer = variegate("study", file)
    assert answer.code == 2 and "names no images" in answer.err


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


def test_how_images_are_made_is_said_of_one_method_or_of_all(tmp_path, known):
    results = {"rows": [{"strategy": "real", "class_accuracies": {"cat": 0.9, "dog": 0.7}}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    text = """\
methods:
  - simple
  - simple: {make: 3, like: results.json}
  - boomerang
make: 2
keep: clip_score
strength: 0.4
per_class: [10, 20]
"""
    args = read(tmp_path, text, known)
    assert [(one.make, one.keep) for one in args.images] == [
        (2, "clip_score"),
        (3, "clip_score"),
        (2, "clip_score"),
    ]
    assert args.parameters == {"strength": "0.4"}
    classes = {"cat": 5, "dog": 30}
    study = study_of(args, args.methods, "datasets/d", "", [10, 20], classes=classes)
    rows = [(arm.method, arm.images_per_class, dict(arm.class_counts)) for arm in study.arms]
    assert rows == [
        ("simple", 0, {}),
        ("simple", 10, {}),
        ("simple", 0, {"cat": 10, "dog": 30}),
        ("simple", 10, {"cat": 5, "dog": 15}),
        ("boomerang", 0, {}),
        ("boomerang", 10, {}),
    ]
    plain = read(tmp_path, "methods: [simple]\n", known)
    assert not {"images", "added"} & plain._content().keys(), "ids of before stay as they were"


def test_classes_are_filled_up_and_guided_as_a_method_says(tmp_path, known):
    text = """\
methods: [simple, simple: {fill_to: 20}, mvc: {guidance: 2}]
guidance: 0
per_class: [10, 20]
"""
    args = read(tmp_path, text, known)
    classes = {"cat": 5, "dog": 30}
    study = study_of(args, args.methods, "datasets/d", "", [10, 20], classes=classes)
    rows = [(arm.method, dict(arm.class_counts), arm.guidance_scale) for arm in study.arms]
    assert rows == [
        *[("simple", {}, 0)] * 2,
        ("simple", {"cat": 15, "dog": 0}, 0),
        *[("mvc", {}, 2)] * 2,
    ]
    assert all(arm.HasField("guidance_scale") for arm in study.arms), "0 is guidance, too"
    assert read(tmp_path, "methods: simple\n", known).images == ()


def test_faults_in_how_images_are_made_are_told_with_their_lines(tmp_path, known):
    text = """\
methods:
  - simple: {keep: best}
  - mvc: {make: 30}
  - contextual: {keep: unsafe_score, make: 2}
  - stylized: {make: 2}
strength: 0.3
like: nowhere.json
synthetic: {a b: ./x}
"""
    found = errors_of(tmp_path, text, known)
    assert [line for line, _ in found] == ["2", "3", "4", "5", "6", "7", "8"]
    said = " ".join(text for _, text in found)
    for words in (
        "no score 'best'. Known: clip_score, unsafe_score",
        "make must be a number from 1 to 20",
        "unsafe_score needs check_safety: true",
        "make and keep belong together",
        "no method of the file starts from an image",
        "nowhere.json cannot be read",
        "cannot be called 'a b'",
    ):
        assert words in said, words


def test_no_parameter_of_a_method_is_called_as_a_key_of_the_images(known):
    names = {entry.name for method in known.methods for entry in method.parameters}
    assert not names & {*KEYS}


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


def test_values_to_select_from_are_candidates_for_one_row(tmp_path, known):
    text = """\
methods:
  - simple
  - boomerang: {select: {strength: [0.3, 0.6]}}
  - mvc: {coarse_steps: 3, select: {fine_steps: [0, 4]}, make: 2, keep: clip_score}
strategies: [combined, two_phase]
protocol: {validation: 0.2}
"""
    args = read(tmp_path, text, known)
    assert args.methods[1:] == (
        ("boomerang", {"strength": "0.3"}),
        ("boomerang", {"strength": "0.6"}),
        ("mvc", {"coarse_steps": "3", "fine_steps": "0"}),
        ("mvc", {"coarse_steps": "3", "fine_steps": "4"}),
    )
    study = study_of(args, args.methods, "datasets/d", "", [5])
    selections = [arm.selection for arm in study.arms]
    assert selections == ["", *["2-boomerang"] * 2, *["3-mvc"] * 2] * 2
    assert [arm.keep for arm in study.arms[:5]] == ["", "", "", "clip_score", "clip_score"]
    kept = text.replace("protocol: {validation: 0.2}\n", "")
    assert read(tmp_path, kept, known, data="dataset:pets").selections, "it may have some already"


def test_what_cannot_be_selected_is_told_with_its_line(tmp_path, known):
    text = """\
methods:
  - boomerang: {select: {strength: [0.3, 3]}}
  - boomerang: {select: {strength: 0.3}}
  - boomerang: {strength: 0.1, select: {strength: [0.3, 0.3]}}
  - simple: {select: {strenth: [1, 2]}}
  - mvc: {select: {}}
"""
    found = errors_of(tmp_path, text, known)
    said = {line: " ".join(t for at, t in found if at == line) for line, _ in found}
    assert "0.3, 3" not in said and "3" in said["2"]
    assert "two values" in said["3"]
    assert "keep one of them" in said["4"] and "twice" in said["4"]
    assert "no parameter 'strenth'" in said["5"]
    assert "names parameters with values" in said["6"]
    assert "validation: 0.2" in said["2"], "there is nothing to select by"
