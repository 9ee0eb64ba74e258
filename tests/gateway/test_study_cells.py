"""Studies of many rows: policies, classifiers and shares of the images; and cells that fail."""

import io
import json

import pyarrow.parquet as pq
import pytest
from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.study_messages import study_from_pb
from gateway.study.study_rows import arm_of, augmentation_of
from servicekit.errors import Exhausted, InvalidArgument, Precondition
from servicekit.storage import to_key
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.system import open_system, rows_of
from tests.gateway.test_studies import study_of


async def finished(system, request):
    """The study at its end, and its results."""
    study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
    assert isinstance(study, pb.Study), study
    return study, json.loads(system.store.get(to_key(study.result.results_uri)))


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


async def test_validation_images_end_each_training_and_choose_its_weights(folders, fails):
    root, train, test = folders
    training = pb.TrainingRecipe(schedule="plateau", choose="best")
    protocol = pb.SubsetProtocol(validation_fraction=0.3)
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        request = study_of(arms=("simple",), training=training)
        error = await fails(system.stub.CreateStudy(request, timeout=10))
        assert error.field == "study.training.schedule" and "has none" in error.message
        kept = await system.import_folder(train, test, protocol=protocol, dataset_id="kept")
        request.study.dataset = kept.name
        request.study.budget = pb.TRAINING_BUDGET_PASSES
        error = await fails(system.stub.CreateStudy(request, timeout=10))
        assert error.field == "study.training.schedule" and error.reason == "SCHEDULE_UNFIT"
        request.study.budget = pb.TRAINING_BUDGET_UNSPECIFIED
        _, plain = await finished(system, study_of(arms=("simple",)))
        request.study_id = "s2"
        study, results = await finished(system, request)
        runs = system.doubles["trainer"].runs
        files = (study.result.summary_uri, study.result.report_uri)
        texts = [system.store.get(to_key(uri)).decode() for uri in files]
    asked = [(run.schedule, run.choose) for run in runs]
    assert asked == [("", "last")] * 4 + [("plateau", "best")] * 4, "of every row"
    chosen = {name: results["training"].get(name) for name in ("schedule", "choose")}
    assert chosen == {"schedule": "plateau", "choose": "best"} and study.training == training
    assert not chosen.keys() & plain["training"].keys(), "what is as usual is not said"
    for row in results["rows"]:
        assert (row["done_steps"], row["chosen_steps"]) == ([290, 280], [280, 260])
    assert plain["rows"][0]["done_steps"] == []
    for text in texts:
        assert "validation images decide when each training ends" in text
        assert "290, 280 steps, tested after 280, 260" in text
        assert "equally many steps" not in text


async def test_images_to_choose_by_are_given_to_the_trainer_and_nothing_is_made_of_them(folders):
    root, train, test = folders
    protocol = pb.SubsetProtocol(validation_fraction=0.3, seed=1)
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test, protocol=protocol)
        study, results = await finished(system, study_of(arms=("mvc", "boomerang")))
        runs = system.doubles["trainer"].runs
        items = {row["item_id"]: row for row in rows_of(system.store, dataset.manifest_uri)}
        made = [
            row
            for run in runs
            if run.synthetic_manifest_uri
            for row in rows_of(system.store, run.synthetic_manifest_uri)
        ]
        summary = system.store.get(to_key(study.result.summary_uri)).decode()
    kept = [item for item in items.values() if item["split"] == "validation"]
    assert [c.validation_count for c in dataset.classes] == [1, 1] and len(kept) == 2
    assert all(run.validation for run in runs)
    parents = {parent for row in made for parent in row["parents"]}
    assert parents and {items[parent]["split"] for parent in parents} == {"train"}
    assert results["dataset"]["validation_counts"] == [1, 1]
    assert results["rows"][1]["validation_accuracies"] == [0.25, 0.25]
    assert "2 kept for validation" in summary


async def test_validation_images_select_the_parameters_of_a_row(folders, fails):
    root, train, test = folders
    arms = [
        {"method": "boomerang", "parameters": {"strength": one}, "selection": "b"}
        for one in ("0.3", "0.6")
    ]
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        error = await fails(system.stub.CreateStudy(study_of(arms=arms), timeout=10))
        assert error.reason == "NO_VALIDATION_IMAGES"
        protocol = pb.SubsetProtocol(validation_fraction=0.3, seed=1)
        await system.import_folder(train, test, dataset_id="kept", protocol=protocol)
        request = study_of(arms=arms)
        request.study.dataset = "datasets/kept"
        uris = []

        def better_later(run):
            """Each run is better than those before it, so that the last candidate is selected."""
            uris.append(run.synthetic_manifest_uri)
            return 0.01 * len(uris)

        system.doubles["trainer"].validates = better_later
        study, results = await finished(system, request)
        summary = system.store.get(to_key(study.result.summary_uri)).decode()
        report = system.store.get(to_key(study.result.report_uri)).decode()
        for wrong in (
            arms[:1],
            [arms[0], {**arms[1], "method": "mvc", "parameters": {}}],
            [arms[0], {**arms[1], "make_factor": 2, "keep": "clip_score"}],
        ):
            bad = study_of(arms=wrong)
            bad.study.dataset = "datasets/kept"
            error = await fails(system.stub.CreateStudy(bad, timeout=10))
            assert error.reason == "BAD_SELECTION" and error.field.endswith("].selection"), error
    assert [row["label"] for row in results["rows"]] == [
        "baseline",
        "boomerang (strength selected)",
    ]
    [selection] = results["selections"]
    assert [one["parameters"]["strength"] for one in selection["candidates"]] == ["0.3", "0.6"]
    assert [one["selected_seeds"] for one in selection["candidates"]] == [[], [1, 2]]
    best = [
        max(pair) for pair in zip(*(c["accuracies"] for c in selection["candidates"]), strict=True)
    ]
    assert results["rows"][1]["validation_accuracies"] == pytest.approx(best)
    assert "## Selected on validation images" in summary and "strength=0.6 (seeds 1, 2)" in summary
    assert "Selected on validation images" in report


async def augmentations(system):
    request = pb.ListAugmentationsRequest(parent="datasets/pets")
    return (await system.stub.ListAugmentations(request, timeout=10)).augmentations
