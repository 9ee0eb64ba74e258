"""variegate study against a real gRPC server."""

import shlex
import shutil
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.clients.trainer import SetScore
from gateway.export.results import DatasetSummary
from gateway.study import Arm, RunRecord, StudySpec, build_results
from servicekit.errors import Precondition
from servicekit.storage import DirectoryStore


@pytest.fixture
def studied(gateway, tmp_path):
    """The arguments that lead to a gateway whose study is done."""
    arms = [Arm("baseline", "real"), Arm("mvc", "combined")]
    dataset = DatasetSummary("datasets/d", "ab", ("cat", "dog [x]"), (2, 2), (1, 1))
    spec = StudySpec("s", dataset, 2, (0, 1, 2), (arms[1],))
    records = [
        RunRecord(
            arm,
            seed,
            0.4 + 0.1 * at + 0.01 * seed,
            {"cat": 0.5, "dog [x]": 0.4 - 0.1 * at},
            test_sets={"sketch": SetScore(0.2 + 0.05 * at, 5)},
        )
        for at, arm in enumerate(arms)
        for seed in range(3)
    ]
    results = build_results(spec, records, machine={})
    store = DirectoryStore(tmp_path / "objects")
    store.put("results.json", results.to_json().encode())
    store.put("report.html", b"<!doctype html>")
    store.put("STUDY.md", b"# s\n\n## How to repeat it\n\n- data set `d`\n")
    gateway.summary_uri = "store:STUDY.md"
    return ["--gateway", gateway.target, "--store", (tmp_path / "objects").as_uri()]


def test_study_prints_the_table_and_writes_both_files(
    variegate, gateway, studied, photos, tmp_path
):
    command = ["study", photos, "--test", photos, "--methods", "mvc", "--out", "s", *studied]
    command += ["--nodes", 2, "--gpus-per-node", 4]
    answer = variegate(*command)
    assert answer.code == 0, answer.err
    asked = gateway.requests[-1].study.training
    assert (asked.node_count, asked.gpus_per_node) == (2, 4)
    assert "mvc beats the baseline" in answer.out
    assert "+10.0 ± 0.0" in answer.out and "dog [x] -10.0" in answer.out
    assert "gain, sketch" in answer.out and "+5.0 ± 0.0" in answer.out
    assert (tmp_path / "s" / "report.html").exists()
    assert list(gateway.requests[-1].study.seeds) == [0, 1, 2]
    again = variegate(*command, "--resume", "--json")
    assert again.document["best"] == "mvc"
    assert again.document["rows"][1]["accuracies"] == pytest.approx([0.5, 0.51, 0.52])


def command_in(folder):
    """The command line that STUDY.md says."""
    head, _, rest = (folder / "STUDY.md").read_text().partition("\n```console\n")
    assert head.startswith("# s\n\n## How to repeat it\n") and "- data set `d`" in rest
    assert f"with variegate {version('variegate')}" in head
    program, *words = shlex.split(rest.partition("\n```\n")[0])
    assert program == "variegate"
    return words


def test_what_study_md_says_to_type_asks_for_the_same_study(
    variegate, gateway, studied, photos, tmp_path
):
    own, file = tmp_path / "Ann's photos", tmp_path / "my study.yaml"
    shutil.copytree(photos, own)
    file.write_text("methods: mvc\nper_class: 7\n")
    by_flags = [own, "--param", "coarse_steps=4", "--methods", "mvc", "--deterministic"]
    for given in (by_flags, [file, "--data", own]):
        out = tmp_path / f"out-{given[0].suffix}"
        answer = variegate("study", *given, "--test", own, "--out", out, *studied, "--yes")
        assert answer.code == 0, answer.err
        words, asked = command_in(out), gateway.requests[-1]
        assert "--yes" not in words and "--layout" not in words, "what matters and was given"
        assert variegate(*words, "--overwrite").code == 0
        assert gateway.requests[-1] == asked
    assert "`study.yaml` beside this" in (out / "STUDY.md").read_text()


def test_test_sets_with_a_name_are_further_ones_and_come_before_those_of_the_file(
    variegate, gateway, studied, photos, tmp_path
):
    file, drawn = tmp_path / "study.yaml", tmp_path / "drawn"
    shutil.copytree(photos, drawn)
    file.write_text("methods: mvc\ntests: {sketch: ./none, art: ./drawn}\n")
    tests = ["--test", photos, "--test", f"sketch={drawn}"]
    given = ["--data", photos, *tests, "--out", tmp_path / "o"]
    answer = variegate("study", file, *given, *studied)
    assert answer.code == 0, answer.err
    sets = {one.name: one.dataset for one in gateway.requests[-1].study.test_sets}
    assert set(sets) == {"sketch", "art"} and sets["sketch"] == sets["art"]
    assert sets["art"] != gateway.requests[-1].study.dataset
    answer = variegate("study", photos, *tests, "--test", "x", "--methods", "mvc", *studied)
    assert answer.code == 2 and "--test is given 2 times without a name" in answer.err


def test_methods_may_be_said_at_once_or_one_after_the_other(variegate, gateway, studied, photos):
    command = ["study", photos, "--test", photos, "--out", "s"]
    answer = variegate(*command, "--methods", "mvc", "--methods", "retrieval", *studied)
    assert "--pool" in answer.err  # What retrieval needs: both were heard.
    answer = variegate(*command, "--methods", "mvc", "--methods", "mvcc", *studied)
    assert "no method 'mvcc'" in answer.err
    assert "[default: mvc,retrieval]" in " ".join(variegate("study", "--help").out.split())


def test_the_demo_studies_the_shipped_photographs_again_and_again(
    variegate, gateway, studied, tmp_path
):
    # This gateway knows two methods only, which is what --full asks for: all that there are.
    for _ in range(2):
        answer = variegate("study", "--demo", "--full", *studied)
        assert answer.code == 0, answer.err
    assert (tmp_path / "out" / "demo" / "results.json").exists()
    asked = gateway.requests[-1].study
    assert [arm.method for arm in asked.arms] == ["mvc", "retrieval"]
    assert asked.pool_uri


def test_a_parameter_goes_to_every_method_that_has_it(variegate, gateway, studied):
    answer = variegate("study", "--demo", "--full", "--param", "coarse_steps=4", *studied)
    assert answer.code == 0, answer.err
    asked = {arm.method: dict(arm.parameters) for arm in gateway.requests[-1].study.arms}
    assert asked == {"mvc": {"coarse_steps": "4"}, "retrieval": {}}


def test_a_parameter_that_no_method_has_is_named_before_anything_starts(variegate, photos):
    command = ["study", photos, "--test", photos, "--methods", "mvc,simple"]
    answer = variegate(*command, "--param", "fine_step=4")
    assert answer.code == 2
    assert "no parameter 'fine_step'. Did you mean 'fine_steps'?" in answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strategy", "two_phases"], "no strategy 'two_phases'. Did you mean 'two_phase'?"),
        (["--policy", "hard"], "no policy 'hard'"),
        (["--classifier", "cnn5"], "no classifier 'cnn5'. Did you mean 'cnn4'?"),
        (["--classifier", "resnet50", "--image-size", 32], "resnet50 takes at least 64"),
        (["--image-size", 8], "every classifier takes at least 16"),
        (["--batch-size", 1], "not in the range 2 to 4096"),
        (["--nodes", 65], "Invalid value for '--nodes'"),
        (["--gpus-per-node", 17], "Invalid value for '--gpus-per-node'"),
        (["--learning-rate", "nan"], "Invalid value for '--learning-rate'"),
        (["--train-steps", 10**7], "Invalid value for '--train-steps'"),
        (["--per-class", 10**7], "Invalid value for '--per-class'"),
        (["--param", "coarse_steps=21"], "it must be an integer in [0, 20]"),
        (["--param", "coarse_steps=two"], "'two'; it must be an integer"),
    ],
)
def test_what_the_system_does_not_have_is_told_before_the_import(
    variegate, gateway, studied, photos, options, said
):
    answer = variegate("study", photos, "--test", photos, "--methods", "mvc", *options, *studied)
    assert answer.code == 2
    assert said in answer.err
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", 2**64], "Invalid value for '--seed'"),
        (["--guidance", "nan"], "Invalid value for '--guidance'"),
        (["--param", "coarse_steps=-1"], "it must be an integer in [0, 20]"),
    ],
)
def test_augment_too_is_told_before_the_import(variegate, gateway, studied, photos, options, said):
    answer = variegate("augment", photos, "--method", "mvc", *options, *studied)
    assert answer.code == 2
    assert said in answer.err
    assert gateway.requests == []


@pytest.mark.parametrize("command", ["augment", "study"])
def test_a_model_that_the_system_lacks_is_told_before_the_import(
    variegate, gateway, studied, photos, command
):
    gateway.missing = Precondition("the generator has no model 'pix2pix'", subject="pix2pix")
    methods = ["--methods", "mvc"] if command == "study" else ["--method", "mvc"]
    answer = variegate(command, photos, "--test", photos, *methods, *studied)
    assert answer.code == 3
    assert "The generator has no model 'pix2pix'" in answer.err
    assert gateway.requests == []


def test_a_preview_makes_the_first_images_of_every_method_and_trains_nothing(
    variegate, gateway, studied, photos, tmp_path
):
    store = DirectoryStore(tmp_path / "objects")
    rows = [
        {"class_name": path.parent.name, "image_uri": f"store:{path.parent.name}{path.name}"}
        for path in sorted(photos.rglob("*.png"))
    ]
    for path in photos.rglob("*.png"):
        store.put(f"{path.parent.name}{path.name}", path.read_bytes())
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "objects" / "made.parquet")
    gateway.augmentation_result = pb.AugmentationResult(
        accepted_count=4, manifest_uri="store:made.parquet"
    )
    command = ["study", photos, "--test", photos, "--methods", "mvc", "--out", "s", *studied]
    answer = variegate(*command, "--preview", 2)
    assert answer.code == 0, answer.err
    assert "4 images by mvc" in answer.out
    assert "cat, mvc" in (tmp_path / "s" / "preview.html").read_text()
    kinds = [type(request) for request in gateway.requests]
    assert kinds == [pb.ImportDatasetRequest, pb.CreateAugmentationRequest]
    made = gateway.requests[-1].augmentation
    assert (made.images_per_class, made.preview_count, made.seed) == (100, 2, 0)
    # The study takes the folder of its preview.
    assert variegate(*command).code == 0
    assert not (tmp_path / "s" / "preview.html").exists()


def test_folders_of_images_are_rows_and_those_of_other_images_are_refused(
    variegate, gateway, studied, made, photos, tmp_path
):
    assert variegate("augment", photos, "--per-class", 2, "--out", "new", *made).code == 0
    command = ["study", photos, "--test", photos, "--methods", "mvc", *studied]
    answer = variegate(*command, "--synthetic", "ours=new", "--out", "s")
    assert answer.code == 0, answer.err
    assert "ours: new: 4 images added" in answer.err
    arms = gateway.requests[-1].study.arms
    assert [arm.method for arm in arms] == ["mvc", "ours"]
    assert arms[1].added_manifest_uri.startswith("store:synthetic/")
    path = tmp_path / "new" / "manifest.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("parents")
    elsewhere = pa.array([["elsewhere"]] * len(table), table.schema.field("parents").type)
    pq.write_table(table.set_column(place, "parents", elsewhere), path)
    answer = variegate(*command, "--synthetic", "ours=new", "--out", "t")
    assert answer.code == 3 and "was made from other images" in answer.err
    answer = variegate(*command, "--synthetic", "new", "--out", "t")
    assert answer.code == 2 and "does not say what the row" in answer.err
    assert "is about the keys of a study file" in variegate(*command, "--set", "seeds=1").err
