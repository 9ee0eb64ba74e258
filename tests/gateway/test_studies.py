"""Studies: every row on the same images, budget and seeds."""

import json

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.run.oracle import has_labels
from servicekit.storage import DirectoryStore, to_key
from tests.gateway.pictures import write_folder, write_pool
from tests.gateway.system import open_system


@pytest.fixture
def folders(tmp_path):
    train = write_folder(tmp_path / "train")
    test = write_folder(tmp_path / "test", count=2, tag="test")
    return tmp_path, train, test


def study_of(pool=None, arms=("mvc", "retrieval"), **fields):
    study = pb.Study(dataset="datasets/pets", images_per_class=3, seeds=[1, 2], **fields)
    for arm in arms:
        study.arms.add(method=arm) if isinstance(arm, str) else study.arms.add(**arm)
    study.pool_uri = f"file://{pool}" if pool else ""
    return pb.CreateStudyRequest(study_id="s1", study=study)


async def test_a_study_has_every_row_and_seed_and_its_report(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    arms = ("mvc", {"method": "mvc", "strategy": "two_phase"}, "retrieval")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        operation = await system.stub.CreateStudy(study_of(pool, arms), timeout=10)
        study = await system.finish(operation)
        results = json.loads(system.store.get(to_key(study.result.results_uri)))
        report = system.store.get(to_key(study.result.report_uri)).decode()
        runs = system.doubles["trainer"].runs
        names = [a.name for a in await _augmentations(system)]
    rows = {(row.method, row.strategy): row for row in study.result.rows}
    assert list(rows) == [
        ("baseline", "real"),
        ("oracle", "combined"),
        ("mvc", "combined"),
        ("mvc", "two_phase"),
        ("retrieval", "combined"),
    ]
    assert rows["baseline", "real"].added_image_count == 0
    assert all(row.added_image_count == 6 for row in list(rows.values())[1:])
    assert all(len(row.accuracies) == 2 for row in rows.values())
    assert rows["mvc", "combined"].mean_accuracy > rows["baseline", "real"].mean_accuracy
    assert len(runs) == 10
    assert rows["mvc", "combined"].augmentations == rows["mvc", "two_phase"].augmentations
    assert len(names) == 4, "rows that only train differently share their images"
    trained = {key: results["training"][key] for key in ("classifier", "step_count")}
    assert trained == {"classifier": "cnn4", "step_count": 300}, "the trainer's defaults are named"
    assert results["training"]["learning_rate"] == 0.004
    assert results["schema"] == "variegate.study/1" and results["best"]
    assert report.lower().startswith("<!doctype html>") and "retrieval" in report


async def _augmentations(system):
    request = pb.ListAugmentationsRequest(parent="datasets/pets")
    return (await system.stub.ListAugmentations(request, timeout=10)).augmentations


def test_a_pool_that_is_no_single_parquet_file_has_no_labels_for_an_oracle(tmp_path):
    store = DirectoryStore(tmp_path)
    store.put("pools/shards/00000.tar", b"no matter what")
    assert not has_labels(store, "store:pools/shards")
    assert not has_labels(store, "store:pools/shards/00000.tar")
    store.put("pools/one.parquet", write_pool(tmp_path / "one.parquet").read_bytes())
    assert has_labels(store, "store:pools/one.parquet")


async def test_without_a_pool_there_is_no_oracle(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        operation = await system.stub.CreateStudy(study_of(arms=("simple",)), timeout=10)
        study = await system.finish(operation)
    assert [row.method for row in study.result.rows] == ["baseline", "simple"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"arms": ("nope",)}, "study.arms[0].method", "no method 'nope'"),
        ({"arms": ("retrieval",)}, "study.pool_uri", "searches a pool"),
        (
            {"arms": ({"method": "mvc", "strategy": "wild"},)},
            "study.arms[0].strategy",
            "no strategy 'wild'; known are combined, real, two_phase",
        ),
        (
            {"arms": ("mvc",), "training": pb.TrainingRecipe(classifier="resnet9000")},
            "study.training.classifier",
            "known are cnn4",
        ),
    ],
)
async def test_a_bad_study_is_refused_before_any_work(folders, fails, change, field, words):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        error = await fails(system.stub.CreateStudy(study_of(**change), timeout=10))
        assert not list(system.store.list("studies/"))
    assert error.field == field and words in error.message


async def test_a_study_needs_test_images(folders, fails):
    root, train, _ = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train)
        error = await fails(system.stub.CreateStudy(study_of(arms=("mvc",)), timeout=10))
    assert error.reason == "NO_TEST_SPLIT"
