"""Studies of many rows: policies, test sets, budgets and shares of the images."""

import io

import pyarrow.parquet as pq
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.study_messages import study_from_pb
from gateway.study.study_rows import arm_of, augmentation_of
from servicekit.storage import to_key
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.studying import finished, study_of
from tests.gateway.system import open_system


async def test_each_policy_has_its_baseline_and_shares_of_images_are_the_first_ones(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    arms = (
        {"method": "mvc", "policy": "none"},
        {"method": "mvc", "policy": "standard"},
        {"method": "mvc", "policy": "standard", "images_per_class": 1},
        {"method": "mvc", "policy": "standard", "strategy": "two_phase"},
    )
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        request = study_of(pool, arms)
        plan = await system.stub.PlanStudy(pb.PlanStudyRequest(study=request.study), timeout=10)
        study, results = await finished(system, request)
        made, trainer = system.trouble.made, system.doubles["trainer"]
        manifests = {
            run.result.synthetic_image_count: system.store.get(to_key(run.synthetic_manifest_uri))
            for run in trainer.runs
            if (run.policy, run.strategy, run.seed) == ("standard", "combined", 1)
            and "oracle" not in run.synthetic_manifest_uri
        }
    labels = [row["label"] for row in results["rows"]]
    assert labels == [
        "baseline (none)",
        "oracle (none)",
        "baseline (standard)",
        "oracle (standard, 1 a class)",
        "oracle (standard)",
        "mvc (none)",
        "mvc (standard)",
        "mvc (standard, 1 a class)",
        "mvc (two_phase, standard)",
    ]
    assert plan.cell_count == 9 * 2 and plan.training_run_count == len(trainer.ids) == 18
    assert plan.augmentation_count == 2 and made == 2 * 2 * 3, "the images are made once"
    few, all_ = (pq.read_table(io.BytesIO(manifests[count])).to_pylist() for count in (2, 6))
    assert few == [all_[0], all_[3]], "the first of each class"
    assert [row.images_per_class for row in study.result.rows][-2] == 1


async def test_further_test_sets_are_reported_row_by_row_and_used_for_nothing_else(folders, fails):
    root, train, test = folders
    sketches = write_folder(root / "sketches", count=3, tag="sketch")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        sketch = await system.import_folder(sketches, dataset_id="sketches")
        request = study_of(arms=("simple",))
        request.study.test_sets.add(name="sketch", dataset="datasets/sketches")
        study, results = await finished(system, request)
        summary = system.store.get(to_key(study.result.summary_uri)).decode()
        report = system.store.get(to_key(study.result.report_uri)).decode()
        trainer = system.doubles["trainer"]
        asked = [*trainer.planned, *trainer.runs]
        made = {augmentation_of(study_from_pb(one), row, 1).name for one, row in without(study)}
        for name, dataset, reason in (
            ("sketch", "sketches", "TEST_SET_REPEATED"),
            ("other", "none", "NOT_FOUND"),
        ):
            request.study.test_sets.add(name=name, dataset=f"datasets/{dataset}")
            error = await fails(system.stub.CreateStudy(request, timeout=10))
            assert error.reason == reason
            del request.study.test_sets[-1]
    assert len(trainer.runs) == 4
    assert {one.manifest_uri for run in asked for one in run.test_sets} == {sketch.manifest_uri}
    assert all([one.name for one in run.test_sets] == ["sketch"] for run in asked)
    assert len(made) == 1, "the images do not depend on what is tested"
    baseline, simple = (row["test_sets"]["sketch"] for row in results["rows"])
    assert baseline["mean_accuracy"] == pytest.approx(results["rows"][0]["mean_accuracy"] / 2)
    assert simple["gain"] == pytest.approx(results["rows"][1]["gain"] / 2)
    assert [one.dataset for one in study.test_sets] == ["datasets/sketches"]
    assert "## Further test sets" in summary and "| row | sketch % | gain on sketch" in summary
    assert "Gain on sketch, points" in report


def without(study):
    """The study as it is and without its test sets, each with the row of its arm."""
    plain = pb.Study()
    plain.CopyFrom(study)
    plain.ClearField("test_sets")
    return [(one, arm_of(study_from_pb(one), study_from_pb(one).arms[0])) for one in (study, plain)]


async def test_with_a_budget_in_passes_a_matched_row_has_the_steps_of_the_larger_ones(folders):
    root, train, test = folders
    arms = ("simple", {"method": "simple", "images_per_class": 1})
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test)
        real = sum(one.train_count for one in dataset.classes)
        request = study_of(arms=arms, training=pb.TrainingRecipe(step_count=100))
        request.study.budget = pb.TRAINING_BUDGET_PASSES
        _, results = await finished(system, request)
        request.study.training.step_count = 0
        with pytest.raises(Exception, match="steps of the baseline must be said"):
            await system.stub.PlanStudy(pb.PlanStudyRequest(study=request.study), timeout=10)
    steps = {row["label"]: row["training"]["step_count"] for row in results["rows"]}
    whole, part = round(100 * (real + 6) / real), round(100 * (real + 2) / real)
    assert steps == {
        "baseline": 100,
        "matched (1 a class)": part,
        "matched": whole,
        "simple": whole,
        "simple (1 a class)": part,
    }
    assert results["counts_passes"]


async def test_rows_that_are_alike_or_want_too_much_are_refused(folders, fails):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        for arm, field, words in (
            ({"method": "mvc", "policy": "", "images_per_class": 3}, "study.arms[1]", "twice"),
            ({"method": "mvc", "images_per_class": 4}, "study.arms[1].images_per_class", "makes 3"),
        ):
            error = await fails(system.stub.CreateStudy(study_of(arms=("mvc", arm)), timeout=10))
            assert error.field == field and words in error.message
