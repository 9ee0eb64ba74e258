"""Studies whose seeds draw each their own subset of the real images, shared by all of its rows."""

from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.errors import Exhausted
from servicekit.storage import to_key
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.studying import finished, study_of
from tests.gateway.system import open_system, rows_of

# Draws of two of three images that differ in both classes.
SUBSET_SEEDS = (1, 3)
ARMS = ("mvc", {"method": "mvc", "strategy": "two_phase"})


async def draws_of(system, train, test):
    return [
        await system.import_folder(
            train, test, f"pets{seed}", protocol=pb.SubsetProtocol(shots=2, seed=seed)
        )
        for seed in SUBSET_SEEDS
    ]


def request_of(draws, pool=None, arms=ARMS):
    request = study_of(pool, arms)
    request.study.dataset = draws[0].name
    request.study.seed_datasets.extend(one.name for one in draws)
    return request


async def test_all_rows_of_a_seed_have_the_subset_that_it_draws(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    async with open_system(root / "state", root) as system:
        draws = await draws_of(system, train, test)
        request = request_of(draws, pool)
        plan = await system.stub.PlanStudy(pb.PlanStudyRequest(study=request.study), timeout=10)
        study, results = await finished(system, request)
        runs, made = system.doubles["trainer"].runs, system.trouble.made
        trained = [
            {one["item_id"] for one in rows_of(system.store, draw.manifest_uri) if is_trained(one)}
            for draw in draws
        ]
        parents = {
            (run.seed, parent)
            for run in runs
            if run.strategy == "two_phase"
            for one in rows_of(system.store, run.synthetic_manifest_uri)
            for parent in one["parents"]
        }
        files = (study.result.summary_uri, study.result.report_uri)
        texts = [system.store.get(to_key(uri)).decode() for uri in files]
    assert len(trained[0] & trained[1]) < len(trained[0]) == len(trained[1]) == 4
    assert {(run.seed, run.manifest_uri) for run in runs} == {
        (seed, draw.manifest_uri) for seed, draw in zip((1, 2), draws, strict=True)
    }
    assert all(parent in trained[seed - 1] for seed, parent in parents)
    assert {seed for seed, _ in parents} == {1, 2}
    assert plan.training_run_count == len(runs) == 4 * 2
    assert plan.augmentation_count == 2 and made == 2 * 2 * 3, "rows of a seed share their images"
    names = [row.augmentations for row in study.result.rows if row.method == "mvc"]
    assert names[0] == names[1] and [one.split("/")[1] for one in names[0]] == ["pets1", "pets3"]
    assert [(one["seed"], one["dataset"], one["subset_seed"]) for one in results["subsets"]] == [
        (1, "datasets/pets1", 1),
        (2, "datasets/pets3", 3),
    ]
    assert results["rows"][2]["images"]["real_count"] == 4, "those of the seed, never of both"
    assert list(study.seed_datasets) == [one.name for one in draws]
    for text in texts:
        assert "the errors contain the choice of real images as well" in text
        assert all(one["digest"][:16] in text for one in results["subsets"])
        assert "subset seed 3" in text


def is_trained(row):
    return row["split"] == "train"


async def test_a_study_of_one_subset_says_that_its_errors_do_not_contain_the_choice(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        study, results = await finished(system, study_of(arms=("simple",)))
        summary = system.store.get(to_key(study.result.summary_uri)).decode()
    assert results["subsets"] == []
    assert "errors contain these two and not the choice of real images" in summary


async def test_an_interrupted_study_of_several_subsets_makes_nothing_twice(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        draws = await draws_of(system, train, test)
        system.doubles["trainer"].fails = lambda run: (
            Exhausted("wait", reason="DATABASE_FULL")
            if (run.seed, run.strategy) == (2, "two_phase")
            else None
        )
        operation = await system.stub.CreateStudy(request_of(draws), timeout=10)
        assert (await system.finish(operation)).error.message == "wait"
        first = system.trouble.made
    async with open_system(root / "state", root) as system:
        study, results = await finished(system, request_of(draws))
        again, runs = system.trouble.made, system.doubles["trainer"].runs
    assert (first, again) == (2 * 2 * 3, 0)
    assert {(run.seed, run.strategy) for run in runs} >= {(2, "two_phase")}
    assert all(len(row.accuracies) == 2 for row in study.result.rows)
    assert [one["subset_seed"] for one in results["subsets"]] == list(SUBSET_SEEDS)


async def test_datasets_that_cannot_be_compared_are_refused(folders, fails):
    root, train, test = folders
    other = write_folder(root / "other", count=2, tag="other")
    rule = pb.SubsetProtocol(shots=2)
    async with open_system(root / "state", root) as system:
        draws = await draws_of(system, train, test)
        whole = await system.import_folder(train, test)
        untested = await system.import_folder(train, other, "others", protocol=rule)
        for names, words in (
            ([draws[0].name], "1 datasets for 2 seeds"),
            ([draws[1].name, draws[0].name], "must be one"),
            ([draws[0].name, whole.name], "other classes or numbers of images"),
            ([draws[0].name, untested.name], "other test images"),
        ):
            request = request_of(draws)
            request.study.seed_datasets[:] = names
            error = await fails(system.stub.CreateStudy(request, timeout=10))
            assert (error.field, error.reason) == ("study.seed_datasets", "SUBSETS_DIFFER")
            assert words in error.message
