"""--like: the budget goes to the classes that results say are weak; --strength."""

import json

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.failures import CliError
from gateway.cli.weakness import Accuracies, read_accuracies

STUDY = {
    "schema": "variegate.study/1",
    "rows": [
        {"method": "baseline", "classes": [{"class_name": "cat", "accuracy": 0.5}]},
        {"method": "mvc", "classes": [{"class_name": "cat", "accuracy": 0.9}]},
    ],
}
TRAINING = {
    "rows": [
        {"strategy": "real", "class_accuracies": {"cat": 0.75, "dog": 0.25}},
        {"strategy": "combined", "class_accuracies": {"cat": 1.0, "dog": 1.0}},
    ]
}


def written(tmp_path, document):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(document))
    return file


def test_accuracies_are_those_of_real_images_alone(tmp_path):
    assert read_accuracies(written(tmp_path, STUDY)).of_classes == {"cat": 0.5}
    assert read_accuracies(written(tmp_path, TRAINING)).of_classes == {"cat": 0.75, "dog": 0.25}


@pytest.mark.parametrize(
    "document",
    [{}, [], {"rows": []}, {"rows": [{"strategy": "rsp", "class_accuracies": {"a": 1}}]}],
)
def test_another_file_is_refused(tmp_path, document):
    with pytest.raises(CliError, match="has no accuracies of classes"):
        read_accuracies(written(tmp_path, document))
    with pytest.raises(CliError, match="No such file"):
        read_accuracies(tmp_path / "none.json")


def test_a_class_that_is_wrong_twice_as_often_gets_twice_as_many():
    known = Accuracies({"a": 0.5, "b": 0.75, "c": 1.0})
    assert known.counts(["a", "b", "c"], 10) == {"a": 20, "b": 10, "c": 0}
    assert sum(Accuracies({"a": 0.1, "b": 0.2, "c": 0.3}).counts(["a", "b", "c"], 7).values()) == 21


def test_classes_without_an_accuracy_are_named_and_strong_ones_get_nothing():
    with pytest.raises(CliError, match="no accuracy of 'b', 'c'"):
        Accuracies({"a": 0.5, "b": None}).counts(["a", "b", "c"], 10)
    with pytest.raises(CliError, match="no class is weak"):
        Accuracies({"a": 1.0}).counts(["a"], 10)


WEAK = {"cat": 0.75, "dog [x]": 0.25}


def requested(gateway):
    made = [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]
    return made[-1].augmentation


def test_the_request_has_what_each_class_gets(variegate, gateway, photos, at, tmp_path):
    file = written(tmp_path, {"rows": [{"strategy": "real", "class_accuracies": WEAK}]})
    command = ["augment", photos, "--per-class", 10, "--like", file, "--out", "new", *at]
    answer = variegate(*command)
    assert "weak classes get more: dog [x] 15, cat 5" in answer.err
    assert dict(requested(gateway).class_counts) == {"cat": 5, "dog [x]": 15}
    refused = variegate("augment", photos, "--fill-to", 10, "--like", file, *at)
    assert refused.code == 2 and "--like says how many" in refused.err


def test_strength_is_for_methods_that_start_from_an_image(variegate, gateway, photos, at):
    command = ["augment", photos, "--plan", "--strength", "0.3"]
    refused = variegate(*command, "--method", "mvc", *at)
    assert refused.code == 2 and "starts from no image" in refused.err
