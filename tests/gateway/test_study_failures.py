"""What fails in a study costs its row or cell, is told, and the others go on."""

from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.errors import Exhausted, InvalidArgument, Precondition
from servicekit.storage import to_key
from tests.gateway.studying import augmentations, finished, study_of
from tests.gateway.system import open_system


async def test_a_row_whose_images_cannot_be_made_is_reported_and_the_others_go_on(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        system.trouble.refuses_captions = True
        arms = ("simple", "mvc", {"method": "mvc", "strategy": "two_phase"})
        study, results = await finished(system, study_of(arms=arms))
        summary = system.store.get(to_key(study.result.summary_uri)).decode()
    assert [row.method for row in study.result.rows] == ["baseline", "simple"]
    failed = [(one.label, one.seed, one.stage) for one in study.result.failures]
    assert failed == [
        (label, seed, "images") for label in ("mvc", "mvc (two_phase)") for seed in (1, 2)
    ]
    assert any("mvc, seed 1 failed" in note for note in results["notes"])
    for words in (
        "- mvc, seed 1 (images): ",
        "| simple | combined | 6 | 2 | ",
        f"digest `{results['dataset']['digest']}`",
        '"seeds": [',
        "double-captioner",
    ):
        assert words in summary, words


async def test_a_classifier_that_fails_costs_its_cell_and_the_row_keeps_its_other_seeds(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        system.doubles["trainer"].fails = lambda run: (
            Precondition("the loss is not a number", subject="run", reason="DIVERGED")
            if run.seed == 2 and run.strategy == "combined"
            else None
        )
        study, results = await finished(system, study_of(arms=("simple",)))
    rows = {row["label"]: row for row in results["rows"]}
    assert rows["simple"]["seeds"] == [1] and len(rows["simple"]["accuracies"]) == 1
    assert rows["baseline"]["seeds"] == [1, 2]
    [failure] = study.result.failures
    assert (failure.label, failure.seed, failure.stage) == ("simple", 2, "training")
    assert "not a number" in failure.message


async def test_a_strategy_that_the_classifier_cannot_have_costs_its_rows_and_no_images(
    folders, fails
):
    root, train, test = folders
    arms = ("simple", {"method": "mvc", "strategy": "aux_bn"})
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        alone = study_of(arms=arms[1:])
        error = await fails(
            system.stub.PlanStudy(pb.PlanStudyRequest(study=alone.study), timeout=9)
        )
        assert (error.field, error.reason) == ("study.arms[0].strategy", "NO_BATCH_NORM")
        request = study_of(arms=arms)
        plan = await system.stub.PlanStudy(pb.PlanStudyRequest(study=request.study), timeout=10)
        study, results = await finished(system, request)
        made, names = system.trouble.made, [one.method for one in await augmentations(system)]
    [unfit] = plan.left_out
    assert unfit.label == "mvc (aux_bn)" and unfit.message == "cnn4 lacks batch norm"
    assert (plan.cell_count, plan.training_run_count, plan.augmentation_count) == (4, 4, 2)
    assert [row["label"] for row in results["rows"]] == ["baseline", "simple"]
    failed = [(one.label, one.seed, one.stage) for one in study.result.failures]
    assert failed == [("mvc (aux_bn)", seed, "training") for seed in (1, 2)]
    assert set(names) == {"simple"} and made == 2 * 6, "nothing is made for it"


async def test_a_tuning_that_diverges_costs_its_row_and_the_others_go_on(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        system.trouble.diverging |= {"cat", "dog"}
        study, results = await finished(system, study_of(arms=("textual_inversion", "simple")))
    rows = {row["label"]: row for row in results["rows"]}
    assert rows["simple"]["added_image_count"] == 6
    told = [one.message for one in study.result.failures]
    told += rows.get("textual_inversion", {}).get("shortfalls", [])
    assert told and all("the loss is not finite" in text for text in told), told


async def test_a_study_of_which_nothing_comes_fails_with_the_first_reason(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        system.doubles["trainer"].fails = lambda run: InvalidArgument(
            "nothing can be trained", field="training_run.strategy"
        )
        operation = await system.stub.CreateStudy(study_of(arms=("simple",)), timeout=10)
        ended = await system.finish(operation)
    assert isinstance(ended, operations_pb2.Operation)
    assert "no row of the study came to a result" in ended.error.message
    assert "nothing can be trained" in ended.error.message


async def test_a_study_that_was_interrupted_after_a_failure_goes_on_without_the_failed_row(folders):
    root, train, test = folders
    arms = ("mvc", "simple")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        system.trouble.refuses_captions = True
        system.doubles["trainer"].fails = lambda run: (
            Exhausted("wait", reason="DATABASE_FULL") if run.seed == 2 else None
        )
        operation = await system.stub.CreateStudy(study_of(arms=arms), timeout=10)
        ended = await system.finish(operation)
        assert ended.error.message == "wait"
    # The generator would make images of mvc now: what has failed is not tried again.
    async with open_system(root / "state", root) as system:
        study, _ = await finished(system, study_of(arms=arms))
    assert [row.method for row in study.result.rows] == ["baseline", "simple"]
    assert [(one.label, one.seed) for one in study.result.failures] == [("mvc", 1), ("mvc", 2)]
