"""variegate train against a real gRPC server."""

import hashlib
import io
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gateway.cli import recipes
from gateway.cli.arguments import TrainingRecipe
from gateway.cli.inputs import named_digest
from gateway.cli.tables import plus_minus
from gateway.cli.training import Lesson
from servicekit.storage import DirectoryStore
from trainer.classifiers.table import classifiers
from trainer.recipes import recipes as of_trainer


@pytest.fixture
def train(variegate, gateway, made, photos):
    """Runs `train` with one finished output of augment, in the folder "new"."""
    assert variegate("augment", photos, "--out", "new", *made).code == 0
    command = ["train", photos, "--test", photos, "--trainer", gateway.target, *made]
    return lambda *more: variegate(*command, *more)


def trained_on(gateway, tmp_path):
    uri = gateway.requests[-1].training_run.synthetic_manifest_uri
    data = DirectoryStore(tmp_path / "objects").get(uri.removeprefix("store:"))
    return pq.read_table(io.BytesIO(data)).to_pylist()


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


def test_all_synthetic_folders_are_used_and_their_copies_counted(train, gateway, tmp_path):
    shutil.copytree(tmp_path / "new", tmp_path / "second")
    table = pq.read_table(tmp_path / "second" / "manifest.parquet")
    for number in (0, 1):
        (tmp_path / "new" / table.column("file_name")[number].as_py()).unlink()
    answer = train("--synthetic", "new", "--synthetic", "second/manifest.parquet", "--json")
    assert answer.code == 0, answer.err
    kept = [(s["place"], s["used_count"], s["copy_count"], s["missing_count"])
            for s in answer.document["synthetic"]]  # fmt: skip
    assert kept == [("new", 2, 0, 2), ("second/manifest.parquet", 2, 2, 0)]
    assert len(trained_on(gateway, tmp_path)) == 4
    plain = train("--synthetic", "new", "--synthetic", "second")
    assert "new: 2 images added, 2 of its manifest are no longer there" in plain.out
    assert "second: 2 images added, 2 copies of others left out" in plain.out


def rewrite(folder, **columns):
    path = folder / "manifest.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        kind = table.schema.field(name).type
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, kind))
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"class_name": ["zebra"] * 4}, "classes that the training images lack: zebra"),
        ({"parents": [["p"], ["elsewhere"], ["p"], ["p"]]}, "1 of its 4 images have parents"),
    ],
)
def test_images_of_another_dataset_are_refused_before_anything_is_trained(
    train, gateway, tmp_path, columns, said
):
    rewrite(tmp_path / "new", **columns)
    before = len(gateway.requests)
    answer = train("--synthetic", "new")
    assert answer.code == 3
    assert said in answer.err
    assert len(gateway.requests) == before + 1, "only the import"


def test_an_image_with_two_classes_is_refused(train, tmp_path):
    shutil.copytree(tmp_path / "new", tmp_path / "second")
    rewrite(tmp_path / "second", class_name=["dog [x]"] * 4)
    answer = train("--synthetic", "new", "--synthetic", "second")
    assert answer.code == 3
    assert "is 'dog [x]' there and 'cat' in new" in answer.err


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


def test_real_alone_with_added_images_is_refused_before_anything_is_trained(train):
    answer = train("--synthetic", "new", "--strategy", "real")
    assert answer.code == 2
    assert "uses no added images" in answer.err


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


def test_an_image_moved_to_another_class_folder_takes_that_class(train, gateway, tmp_path):
    new = tmp_path / "new"
    table = pq.read_table(new / "manifest.parquet")
    files, names = (table.column(name).to_pylist() for name in ("file_name", "class_name"))
    cats = [file for file, name in zip(files, names, strict=True) if name == "cat"]
    [dogs] = {file.partition("/")[0] for file in files if file not in cats}
    (new / cats[0]).rename(new / dogs / "corrected.png")
    (new / "trash").mkdir()
    (new / cats[1]).rename(new / "trash" / "bad.png")
    Image.new("RGB", (8, 8), "red").save(new / dogs / "mine.png")
    answer = train("--synthetic", "new", "--json")
    assert answer.code == 0, answer.err
    [source] = answer.document["synthetic"]
    assert (source["used_count"], source["moved_count"]) == (3, 1)
    assert (source["unfiled_count"], source["added_count"]) == (1, 1)
    used = trained_on(gateway, tmp_path)
    assert {(row["class_name"], row["label"]) for row in used} == {("dog [x]", 1)}
    for text in (answer.err, train("--synthetic", "new").out):
        flat = " ".join(text.split())
        assert "1 moved by hand take the class of their new folder" in flat
        assert "1 that were moved to no class's folder left out" in flat
        assert "1 that its manifest does not name left out" in flat


def test_an_image_in_two_class_folders_is_refused(train, tmp_path):
    new = tmp_path / "new"
    files = pq.read_table(new / "manifest.parquet").column("file_name").to_pylist()
    folder = next(file for file in files if file.partition("/")[0] != files[0].partition("/")[0])
    shutil.copy(new / files[0], (new / folder).parent / "also.png")
    answer = train("--synthetic", "new")
    assert answer.code == 3
    assert "lies in the folders of two classes" in answer.err


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
