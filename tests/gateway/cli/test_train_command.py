"""variegate train against a real gRPC server."""

import hashlib

import pytest

from gateway.cli import recipes
from gateway.cli.arguments import TrainingRecipe
from gateway.cli.inputs import named_digest
from gateway.cli.tables import plus_minus
from gateway.cli.training import Lesson
from servicekit.storage import DirectoryStore
from trainer.classifiers.table import classifiers
from trainer.recipes import recipes as of_trainer


def test_what_help_lists_is_what_the_trainer_has():
    assert list(recipes.STRATEGIES) == list(of_trainer("strategies"))
    assert list(recipes.POLICIES) == list(of_trainer("policies"))
    assert list(recipes.MIXING) == [one.id for one in of_trainer("policies").values() if one.mixes]
    assert list(recipes.CLASSIFIERS) == list(classifiers())
    alone = [one.id for one in of_trainer("strategies").values() if not one.needs_synthetic]
    assert alone == [recipes.WITHOUT_ADDED]


@pytest.mark.parametrize("command", ["train", "study"])
def test_a_network_that_timm_lacks_is_told_before_anything_starts(variegate, photos, command):
    answer = variegate(command, photos, "--test", photos, "--classifier", "timm:resnet5O")
    assert answer.code == 2 and "no network 'resnet5O'; it has resnet50" in answer.err


@pytest.mark.parametrize("command", ["train", "study"])
def test_help_lists_every_choice(variegate, command):
    text = " ".join(variegate(command, "--help").out.split())
    strategies = recipes.STRATEGIES if command == "train" else recipes.WITH_ADDED
    for names in (strategies, recipes.POLICIES, recipes.CLASSIFIERS):
        assert "|".join(names) in text
    sizes = ("--image-size", "--batch-size", "--learning-rate", "--nodes", "--gpus-per-node")
    for option in (*sizes, "--classifier", "--policy"):
        assert option in text


def test_every_setting_reaches_the_trainer_and_is_shown(train, gateway):
    answer = train(
        "--classifier", "cnn4", "--policy", "standard", "--train-steps", 7, "--batch-size", 16,
        "--learning-rate", 0.01, "--image-size", 48,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = gateway.requests[-1].training_run
    assert (run.step_count, run.batch_size, run.image_size) == (7, 16, 48)
    assert run.learning_rate == pytest.approx(0.01)
    assert "7 steps of 16 images at 48 x 48 pixels, learning rate 0.01" in answer.out


def test_machines_reach_the_trainer_are_shown_and_are_part_of_what_a_run_is(train, gateway):
    """They change the rounding of its result; who names none keeps the ids that there were."""
    ids = []
    for options in ([], ["--nodes", 2], ["--nodes", 2, "--gpus-per-node", 4]):
        answer = train("--train-steps", 7, *options, "--json")
        assert answer.code == 0, answer.err
        ids.append(gateway.requests[-1].training_run_id)
    run = gateway.requests[-1].training_run
    assert (run.node_count, run.gpus_per_node) == (2, 4)
    assert "learning rate 0 on 2 machines with 4 GPUs each" in answer.err
    [row] = answer.document["rows"]
    assert (row["training"]["node_count"], row["training"]["gpus_per_node"]) == (2, 4)
    assert len(set(ids)) == 3
    assert "machines" not in train("--train-steps", 7).err
    chosen = [TrainingRecipe(), TrainingRecipe(node_count=2), TrainingRecipe(gpus_per_node=2)]
    assert len({named_digest("train", [one]) for one in chosen}) == 3
    assert "node_count" not in Lesson("store:m").plain()


def test_further_test_sets_are_imported_and_shown_beside_the_main_one(train, gateway, photos):
    ids = set()
    for option in ([], ["--test", f"sketch={photos}"]):
        answer = train("--train-steps", 7, "--seeds", 1, "--json", *option)
        assert answer.code == 0, answer.err
        ids.add(gateway.requests[-1].training_run_id)
    [asked] = gateway.requests[-1].training_run.test_sets
    assert asked.name == "sketch" and len(ids) == 2
    [row] = answer.document["rows"]
    assert row["test_sets"]["sketch"]["test_image_count"] == 7
    assert row["test_sets"]["sketch"]["mean_accuracy"] == pytest.approx(row["mean_accuracy"] / 2)
    assert "sketch %" in train("--test", f"sketch={photos}").out


def test_test_sets_that_are_not_clear_are_refused(train, photos):
    answer = train("--test", photos)
    assert answer.code != 0 and "--test is given 2 times without a name" in answer.err
    answer = train("--test", f"a={photos}", "--test", f"a={photos}")
    assert "Two test sets are called a" in answer.err
    assert "no-such-folder" in train("--test", "a=no-such-folder").err


def test_weights_go_into_the_store_and_others_are_another_run(train, gateway, tmp_path):
    file, ids = tmp_path / "model.safetensors", set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        answer = train("--weights", tmp_path, "--freeze", "--seeds", 1, "--json")
        assert answer.code == 0, answer.err
        run = gateway.requests[-1].training_run
        ids.add(gateway.requests[-1].training_run_id)
        store = DirectoryStore(tmp_path / "objects")
        assert store.get(run.initial_weights_uri.removeprefix("store:")) == content
        assert run.freeze
    assert len(ids) == 2
    assert "There are no weights" in train("--weights", "gone.safetensors").err
    (tmp_path / "model.pth").write_bytes(b"")
    assert "no .safetensors file" in train("--weights", tmp_path / "model.pth").err


def test_weights_of_a_package_go_into_the_store_for_the_network_that_they_are_of(
    train, gateway, tmp_path
):
    given = ("--weights", "packaged:efficientnet-lite0", "--freeze", "--seeds", 1)
    answer = train(*given)
    assert answer.code == 2 and "weights are of timm:tf_efficientnet_lite0, and" in answer.err
    assert "Give --classifier timm:tf_efficientnet_lite0" in answer.err
    answer = train(*given, "--classifier", "timm:tf_efficientnet_lite0")
    assert answer.code == 0, answer.err
    key = gateway.requests[-1].training_run.initial_weights_uri.removeprefix("store:")
    data = DirectoryStore(tmp_path / "objects").get(key)
    assert key == f"weights/{hashlib.sha256(data).hexdigest()}.safetensors"
    assert "No package with weights 'lite1' is known" in train("--weights", "packaged:lite1").err


def test_a_list_shows_what_a_run_can_name(train):
    answer = train("--list")
    assert answer.code == 0, answer.err
    assert all(name in answer.out for name in ("two_phase", "standard", "resnet50"))
    document = train("--list", "--json").document
    assert [one["id"] for one in document["classifiers"]] == ["cnn4", "resnet50"]


@pytest.mark.parametrize("option", ["strategy", "policy", "classifier"])
def test_what_the_trainer_does_not_have_is_told_before_anything_is_trained(train, gateway, option):
    before = len(gateway.requests)
    answer = train("--synthetic", "new", f"--{option}", "two_phases")
    assert answer.code == 2
    assert f"There is no {option} 'two_phases'" in answer.err
    assert len(gateway.requests) == before


def test_images_too_small_for_the_classifier_are_told_before_the_import(train, gateway):
    before = len(gateway.requests)
    answer = train("--classifier", "resnet50", "--image-size", 32)
    assert answer.code == 2
    assert "resnet50 takes at least 64" in answer.err
    answer = train("--classifier", "timm:test_vit", "--image-size", 192)
    assert answer.code == 2 and "timm:test_vit takes 160 alone" in answer.err
    assert len(gateway.requests) == before


def test_the_time_of_training_is_said_once_its_pace_is_known(train, gateway):
    assert "; about" not in train("--seeds", 2).err
    gateway.training_pace = 640.0  # 2 seeds of 300 steps of 64 images: a minute
    assert "about 1:00 at 640 images/s" in train("--seeds", 2).err


def test_one_seed_has_no_error_and_claims_nothing(train):
    answer = train("--synthetic", "new", "--seeds", 1)
    assert "± 0.0" not in answer.out and "40.0 ± n/a" in answer.out
    assert "gain +2.0 ± n/a points, one seed says nothing about chance" in answer.out
    document = train("--synthetic", "new", "--seeds", 1, "--json").document
    assert document["gain_standard_error"] is None
    assert document["rows"][0]["standard_error"] is None


def test_a_sure_loss_is_said_as_plainly_as_a_gain(train, gateway):
    gateway.gain = -0.1
    answer = train("--synthetic", "new")
    assert "gain -10.0 ± 0.0 points, worse by more than two standard errors" in answer.out


def test_a_class_without_test_images_has_no_accuracy(train, gateway):
    gateway.untested = {"dog [x]"}
    assert "no test images" in train().out
    [row] = train("--json").document["rows"]
    assert row["class_accuracies"]["dog [x]"] is None


def test_other_code_of_the_trainer_trains_anew(train, gateway):
    train("--seeds", 1)
    first = gateway.requests[-1].training_run_id
    gateway.code_digest = "other"
    train("--seeds", 1)
    assert gateway.requests[-1].training_run_id != first


def test_plus_minus_of_one_seed():
    assert plus_minus(0.4187, None) == "41.9 ± n/a"


def test_what_a_run_is_trained_with_is_said_before_it_trains(train):
    said = " ".join(
        train("--synthetic", "new", "--classifier", "cnn4", "--train-steps", 7).err.split()
    )
    assert "training real: cnn4" in said and "training combined: cnn4" in said
    assert said.index("training real") < said.index("training combined")
    assert "images at 32 x 32 pixels" in said


def test_out_belongs_to_one_command(train, variegate, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    answer = train("--out", "taken")
    assert answer.code == 3 and "variegate did not make it" in answer.err
    assert train("--out", "taken", "--overwrite").code == 3
    assert train("--out", "new/kept", "--synthetic", "new").code == 2
    assert "--out" in train("--resume").err


def test_a_classifier_is_exported_to_where_it_is_kept_and_a_failure_is_said(train, gateway):
    answer = train("--onnx")
    assert answer.code == 2 and "--onnx needs an --out" in answer.err
    gateway.onnx_failure = "'cnn4' cannot be exported to ONNX: why"
    answer = train("--train-steps", 7)
    assert answer.code == 0 and gateway.onnx_failure in " ".join(answer.out.split())
    assert not gateway.requests[-1].training_run.export_onnx
    assert "export_onnx" not in Lesson("store:m").plain(), "who asks for none keeps the ids"
    assert Lesson("store:m", export_onnx=True).plain()["export_onnx"]


def test_the_steps_of_training_have_one_name_which_the_former_one_leads_to(train):
    answer = train("--steps", 7)
    assert answer.code == 2 and "it is called --train-steps here" in " ".join(answer.err.split())


def test_a_schedule_and_a_choice_reach_the_trainer_and_are_said(train, gateway):
    answer = train(
        "--schedule", "plateau", "--choose", "best", "--train-steps", 7, "--validation", 0.2
    )
    assert answer.code == 0, answer.err
    run = gateway.requests[-1].training_run
    assert (run.schedule, run.choose) == ("plateau", "best")
    said = " ".join(answer.err.split())
    assert "schedule plateau, which may end it earlier, best weights of the validation" in said
    assert not {"schedule", "choose"} & Lesson("store:m").plain().keys()
