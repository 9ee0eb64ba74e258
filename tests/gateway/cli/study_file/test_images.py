"""What a study file says of images: how they are made, how many, and what is selected from."""

import json

from gateway.cli.grid import study_of
from gateway.cli.image_options import KEYS
from tests.gateway.cli.study_file.reading import errors_of, read


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
