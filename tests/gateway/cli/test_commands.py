"""Commands against a real gRPC server."""

import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from PIL import Image
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.synthetic import store_synthetic
from servicekit.errors import Precondition
from servicekit.storage import DirectoryStore, MemoryStore, to_key
from tests.gateway.cli.made import put_augmentation, put_dataset
from tests.gateway.pictures import write_pool


def test_methods_are_listed_with_their_parameters(variegate, gateway):
    answer = variegate("methods", "--gateway", gateway.target)
    assert answer.code == 0
    assert "coarse_steps (2)" in answer.out and "needs --pool" in answer.out


def test_import_shows_classes_and_bad_files(variegate, gateway, photos):
    answer = variegate("import", photos, "--gateway", gateway.target, "--json")
    assert answer.code == 0
    assert [entry["class_name"] for entry in answer.document["classes"]] == ["cat", "dog [x]"]
    assert answer.document["rejected_files"][0]["reason"] == "TRUNCATED"
    assert gateway.requests[0].source.train_uri == photos.as_uri()
    plain = variegate("import", photos, "--gateway", gateway.target)
    assert "dog [x]" in plain.out and "it is cut off" in plain.out


def test_the_same_files_are_the_same_dataset_and_changed_ones_another(variegate, gateway, photos):
    for _ in range(2):
        variegate("import", photos, "--gateway", gateway.target)
    Image.new("RGB", (8, 8)).save(photos / "cat" / "new.png")
    variegate("import", photos, "--gateway", gateway.target)
    first, second, third = (request.dataset_id for request in gateway.requests)
    assert first == second != third


def test_augment_writes_a_folder_per_class_with_its_manifest(variegate, made, photos, tmp_path):
    answer = variegate("augment", photos, "--out", "new", "--per-class", 2, *made)
    assert answer.code == 0, answer.err
    assert "4 images by mvc in new" in answer.out
    manifest = pq.read_table(tmp_path / "new" / "manifest.parquet")
    assert manifest.num_rows == 4
    assert len(list((tmp_path / "new").rglob("*.png"))) == 4
    assert json.loads((tmp_path / "new" / ".variegate.json").read_text())["state"] == "finished"


def test_a_class_whose_folder_has_another_name_is_said_and_told_in_json(
    variegate, gateway, made, photos, tmp_path
):
    store = DirectoryStore(tmp_path / "others")
    gateway.augmentation_result.manifest_uri = put_augmentation(store, ("it's", "dog/husky"))
    gateway.manifest_uri = put_dataset(store)
    where = [*made[:3], (tmp_path / "others").as_uri()]
    answer = variegate("augment", photos, "--out", "new", "--per-class", 2, *where, "--json")
    assert answer.code == 0, answer.err
    [note] = [one for one in answer.document["notes"] if "in the folder" in one]
    assert "'dog/husky' is in the folder 'dog_husky-" in note
    assert "it's" not in note and note in answer.err
    assert (tmp_path / "new" / "it's").is_dir()


def test_augment_writes_shards_that_train_takes_again(variegate, made, photos, tmp_path):
    answer = variegate(
        "augment", photos, "--out", "new", "--format", "webdataset", "--per-class", 2, *made
    )
    assert answer.code == 0, answer.err
    with tarfile.open(tmp_path / "new" / "000000.tar") as shard:
        assert len([name for name in shard.getnames() if name.endswith(".png")]) == 4
    store = MemoryStore()
    uri = store_synthetic(store, [tmp_path / "new"]).manifest_uri
    rows = pq.read_table(io.BytesIO(store.get(to_key(uri)))).to_pylist()
    assert len(rows) == 4
    assert all(store.exists(to_key(row["image_uri"])) for row in rows)


def test_an_unknown_format_is_told_before_anything_is_started(variegate, photos):
    refused = variegate("augment", photos, "--format", "webdatset")
    assert refused.code == 2
    assert "Did you mean 'webdataset'?" in refused.err


def test_augment_passes_on_every_setting(variegate, gateway, made, photos):
    options = ["--seed", 7, "--steps", 5, "--guidance", 2.5, "--param", "coarse_steps=3"]
    options += ["--classes", "cat"]
    variegate("augment", photos, *options, "--deterministic", "--no-check-safety", *made)
    asked = gateway.requests[-1].augmentation
    assert (asked.seed, asked.steps, asked.guidance_scale) == (7, 5, 2.5)
    assert dict(asked.parameters) == {"coarse_steps": "3"}
    assert list(asked.class_names) == ["cat"]
    assert asked.deterministic and not asked.check_safety


def test_what_classes_are_called_is_shown_first_and_names_change_it(
    variegate, gateway, made, photos, tmp_path
):
    assert "names in prompts: dog [x] = dog (--names" in variegate("augment", photos, *made).err
    names = tmp_path / "names.csv"
    names.write_text("class,name\ndog [x],terrier\n")
    answer = variegate("augment", photos, *made, "--names", names, "--out", "other")
    assert "names in prompts: dog [x] = terrier" in answer.err
    imports = [r for r in gateway.requests if isinstance(r, pb.ImportDatasetRequest)]
    assert [dict(r.source.display_names) for r in imports] == [{}, {"dog [x]": "terrier"}]
    assert imports[0].dataset_id != imports[1].dataset_id
    shown = variegate("import", photos, "--names", names, *made[:2])
    assert "dog [x]" in shown.out and "terrier" in shown.out
    document = variegate("import", photos, *made[:2], "--json").document
    assert [one["display_name"] for one in document["classes"]] == ["", "dog"]


def test_a_finished_output_is_refused_without_resume_or_overwrite(variegate, made, photos):
    command = ["augment", photos, "--out", "new", *made]
    assert variegate(*command).code == 0
    refused = variegate(*command)
    assert refused.code == 3
    assert "--resume" in refused.err and "--overwrite" in refused.err
    assert variegate(*command, "--resume").code == 0
    assert variegate(*command, "--overwrite").code == 0
    assert variegate(*command, "--seed", 9, "--resume").code == 3


def test_an_unfinished_output_of_the_same_command_goes_on(variegate, gateway, made, photos):
    command = ["augment", photos, "--out", "new", *made]
    gateway.failure = Precondition("the disk is full; free some", subject="disk", reason="FULL")
    failed = variegate(*command, "--json")
    assert failed.code == 3
    assert failed.document["error"]["reason"] == "FULL"
    gateway.failure = None
    assert variegate(*command).code == 0


def test_classes_that_fell_short_are_shown_and_change_the_exit_code(
    variegate, gateway, made, photos
):
    gateway.augmentation_result.shortfalls.append(
        pb.Shortfall(class_name="dog [x]", wanted_count=9, made_count=2, reason="all alike")
    )
    answer = variegate("augment", photos, *made)
    assert answer.code == 5
    assert "dog [x]" in answer.out and "all alike" in answer.out


def test_an_unknown_method_gets_a_guess(variegate, made, photos):
    answer = variegate("augment", photos, "--method", "mvcc", *made)
    assert answer.code == 2
    assert "Did you mean 'mvc'" in answer.err


def test_an_unknown_parameter_gets_a_guess(variegate, made, photos):
    answer = variegate("augment", photos, "--param", "coarse=1", *made)
    assert answer.code == 2
    assert "Did you mean 'coarse_steps'" in answer.err


def test_an_unknown_class_gets_a_guess(variegate, made, photos):
    answer = variegate("augment", photos, "--classes", "cats", *made)
    assert answer.code == 2
    assert "Did you mean 'cat'" in answer.err


def test_retrieval_without_a_pool_is_refused(variegate, made, photos):
    answer = variegate("augment", photos, "--method", "retrieval", *made)
    assert answer.code == 2
    assert "--pool" in answer.err


def test_a_pool_is_stored_once_by_its_content(variegate, gateway, made, photos, tmp_path):
    pool = write_pool(tmp_path / "pool.parquet", count=1)
    answer = variegate("augment", photos, "--method", "retrieval", "--pool", "pool.parquet", *made)
    assert answer.code == 0, answer.err
    uri = gateway.requests[-1].augmentation.pool_uri
    assert DirectoryStore(tmp_path / "objects").get(to_key(uri)) == pool.read_bytes()


def test_a_gateway_without_its_store_is_explained(variegate, gateway, photos):
    answer = variegate("augment", photos, "--gateway", gateway.target)
    assert answer.code == 2
    assert "--store" in answer.err


def test_progress_goes_to_stderr_and_json_alone_to_stdout(variegate, made, photos):
    answer = variegate("augment", photos, "--json", *made)
    assert answer.document["accepted_count"] == 4
    assert "generate" in answer.err


def test_train_compares_with_and_without_the_added_images(
    variegate, gateway, made, photos, tmp_path
):
    variegate("augment", photos, "--out", "new", *made)
    command = ["train", photos, "--test", photos, "--synthetic", "new", "--seeds", 3, *made]
    answer = variegate(*command, "--trainer", gateway.target, "--json")
    assert answer.code == 0, answer.err
    real, combined = answer.document["rows"]
    assert real["accuracies"] == pytest.approx([0.4, 0.41, 0.42])
    assert answer.document["gain"] == pytest.approx(0.02)
    assert combined["class_accuracies"]["dog [x]"] == pytest.approx(0.43)
    plain = variegate(*command, "--trainer", gateway.target)
    assert "gain +2.0 ± 0.0 points" in plain.out
    uri = gateway.requests[-1].training_run.synthetic_manifest_uri
    data = DirectoryStore(tmp_path / "objects").get(uri.removeprefix("store:"))
    assert pq.read_table(io.BytesIO(data)).num_rows == 4


def test_an_image_deleted_by_hand_is_not_trained_on(variegate, gateway, made, photos, tmp_path):
    variegate("augment", photos, "--out", "new", *made)
    next((tmp_path / "new").rglob("*.png")).unlink()
    answer = variegate(
        "train", photos, "--test", photos, "--synthetic", "new", "--no-compare", "--seeds", 1,
        "--trainer", gateway.target, *made,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    uri = gateway.requests[-1].training_run.synthetic_manifest_uri
    data = DirectoryStore(tmp_path / "objects").get(uri.removeprefix("store:"))
    assert pq.read_table(io.BytesIO(data)).num_rows == 3


def test_what_was_imported_is_a_source_by_its_name(variegate, gateway, made, photos):
    assert variegate("import", photos, "--name", "pets", "--gateway", gateway.target).code == 0
    answer = variegate("augment", "dataset:pets", "--json", *made)
    assert answer.code == 0, answer.err
    assert answer.document["dataset"] == "datasets/pets"
    assert [type(one).__name__ for one in gateway.requests].count("ImportDatasetRequest") == 1
    assert gateway.requests[-1].parent == "datasets/pets"


def test_a_dataset_that_was_not_imported_is_told_the_nearest(variegate, gateway, made, photos):
    variegate("import", photos, "--name", "pets", "--gateway", gateway.target)
    answer = variegate("augment", "dataset:pet", *made)
    assert answer.code == 2
    assert "Did you mean 'pets'?" in answer.err
    again = variegate("augment", "dataset:pets", "--shots", "2", *made)
    assert again.code == 2 and "imported already" in again.err
