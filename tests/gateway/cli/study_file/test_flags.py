"""Study files and the flags of `variegate study`: what leads to the same, and what is said once."""

from variegate.gateway.v1 import gateway_pb2 as pb


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
