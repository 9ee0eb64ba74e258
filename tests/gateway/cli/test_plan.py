"""What a run would take is said before it begins."""

import json

from google.longrunning.operations_pb2 import CancelOperationRequest
from PIL import Image
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import estimating, room
from gateway.cli.contact_sheet import write_sheet
from gateway.cli.planning import RunPlan


def test_the_plan_is_said_before_anything_is_made(variegate, gateway, photos, at):
    answer = variegate("augment", photos, "--per-class", 50, "--out", "new", "--plan", *at)
    assert answer.code == 0
    assert "2 classes, 4 images to start from, 2 to test with, 1 file left out" in answer.out
    assert "mvc: 100 images of 32 x 32 pixels by pix2pix (01234567), 20 steps" in answer.out
    assert "2 images/s, as measured on 100" in answer.out
    assert "about 0:50" in answer.out
    assert "free in" in answer.out
    assert not [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]


def test_the_plan_as_json(variegate, photos, at):
    document = variegate(
        "augment", photos, "--per-class", 50, "--plan", "--json", *at
    ).document  # fmt: skip
    assert document["seconds"] == 50
    assert document["image_count"] == document["made_count"] == 100
    assert document["disks"][0]["needed_bytes"] == 2 * 100 * 4096


def test_a_study_plans_all_rows_and_seeds(variegate, gateway, photos, at):
    answer = variegate(
        "study", photos, "--test", photos, "--methods", "mvc", "--per-class", 10, "--seeds", 4,
        "--plan", "--json", *at,
    )  # fmt: skip
    assert answer.document["image_count"] == 4 * 20
    assert answer.document["training_count"] == 4 * 2
    assert not [r for r in gateway.requests if isinstance(r, pb.CreateStudyRequest)]


def test_the_time_of_training_is_said_once_its_pace_is_known(variegate, gateway, photos, at):
    command = ["study", photos, "--test", photos, "--methods", "mvc", "--per-class", 10, "--plan"]
    assert "the training, whose pace is not known yet" in variegate(*command, *at).out
    assert variegate(*command, "--json", *at).document["training_seconds"] is None
    gateway.training_pace = 640.0  # 6 classifiers of 300 steps of 64 images: 180 seconds
    said = variegate(*command, *at).out
    assert "6 classifiers to train: cnn4, 300 steps of 64 images of 32 x 32 pixels" in said
    assert "640 images/s, as measured on 200 in 0:00" in said
    assert "basis    paces measured here" in said
    assert "and about 3:00 of training" in said
    assert variegate(*command, "--json", *at).document["training_seconds"] == 180


def test_measuring_an_unknown_pace_is_bounded_and_what_stays_unknown_is_named(
    variegate, gateway, photos, at, monkeypatch
):
    monkeypatch.setattr(estimating, "MEASURING_SECONDS", 0.2)
    gateway.image_pace, gateway.slow = 0.0, "-probe"
    command = ["augment", photos, "--per-class", 100, "--plan"]
    answer = variegate(*command, *at)
    assert answer.code == 0, answer.err
    assert "measuring the pace with the first images, which are kept, for 0 s at most" in answer.err
    assert "2 images/s, as measured on 2" in answer.out, "until it was stopped"
    [stopped] = [one for one in gateway.requests if isinstance(one, CancelOperationRequest)]
    assert stopped.name.endswith("-probe")
    gateway.stage = "tune"
    said = variegate(*command, *at).out
    assert "not known: the pace of mvc was never measured here" in said and "basis" not in said


def test_a_model_whose_measuring_was_stopped_is_not_measured_again_for_another_method(
    variegate, gateway, photos, at, monkeypatch
):
    monkeypatch.setattr(estimating, "MEASURING_SECONDS", 0.6)
    gateway.image_pace, gateway.slow = 0.0, "-probe"
    answer = variegate(
        "study", photos, "--test", photos, "--methods", "mvc,retrieval", "--pool", photos,
        "--per-class", 100, "--plan", *at,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.err.count("measuring the pace") == 1
    # The gateway of this test has one model for both.
    assert answer.out.count("2 images/s, as measured on 2") == 2
    assert answer.out.count("2 images/s, as measured on 2 of other methods") == 1


def test_images_that_no_disk_has_room_for_are_refused_before_anything_is_made(
    variegate, gateway, photos, at, monkeypatch
):
    free = 5 * 2**20
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    command = ["augment", photos, "--per-class", 1000, "--out", "new", *at]
    answer = variegate(*command)
    assert answer.code == 3
    assert "no room" in answer.err and "--yes" in answer.err
    assert not [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]


def test_a_job_that_nobody_watches_is_told_the_time_and_begins(variegate, gateway, photos, at):
    gateway.augmentation_result = pb.AugmentationResult()  # nothing is made, so it ends early
    answer = variegate("augment", photos, "--per-class", 5000, "--out", "new", *at)
    assert "about 1:23:20" in answer.err
    assert [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]


def test_a_preview_asks_for_the_first_images_of_the_very_run(variegate, gateway, photos, at):
    gateway.augmentation_result = pb.AugmentationResult()
    variegate("augment", photos, "--per-class", 500, "--preview", 3, "--out", "new", *at)
    [request] = [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]
    assert request.augmentation.images_per_class == 500
    assert request.augmentation.preview_count == 3


def test_time_is_not_guessed_where_no_pace_was_measured():
    unknown = pb.PlanAugmentationResponse(image_count=10, made_count=10, model="text")
    pool = pb.PlanAugmentationResponse(image_count=10, made_count=10)
    assert RunPlan({"simple": unknown}).seconds is None
    assert RunPlan({"retrieval": pool}).seconds == 0
    assert RunPlan({"retrieval": pool}).made_count == 0


def test_the_contact_sheet_shows_every_class(tmp_path, photos):
    rows = {
        f"<b>{folder.name}</b>": [path.read_bytes() for path in sorted(folder.iterdir())]
        for folder in sorted(photos.iterdir())
    }
    picture, page = write_sheet(tmp_path, rows)
    with Image.open(picture) as image:
        assert image.width >= 2 * 128 and image.height >= 2 * 128
    text = page.read_text()
    assert text.count("<img") == 4
    assert "&lt;b&gt;cat" in text and "<b>cat" not in text


def test_a_preview_makes_way_for_the_run(tmp_path):
    from gateway.cli.outputs import MARKER, OutputFolder, claim, finish

    preview, whole = (OutputFolder(tmp_path / "out", run, {}) for run in ("run preview 3", "run"))
    claim(preview, resume=False, overwrite=False)
    finish(preview, preview=3)
    claim(whole, resume=False, overwrite=False)
    assert json.loads((whole.folder / MARKER).read_text())["run"] == "run"
