"""Studies whose validation images end trainings, choose weights and select parameters."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.storage import to_key
from tests.gateway.studying import finished, study_of
from tests.gateway.system import open_system, rows_of


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
