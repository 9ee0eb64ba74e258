"""Studies: every row on the same images, budget and seeds."""

import io
import json
from hashlib import sha256

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb
from variegate.retriever.v1 import retriever_pb2

from gateway.cli.work.study_preview import augmentation_of
from servicekit.storage import to_key
from tests.gateway.pictures import picture, write_folder, write_pool
from tests.gateway.studying import augmentations, study_of
from tests.gateway.system import open_system


def told(results):
    """The notes of a study, but for what the double of CLIP, which knows no class, makes of it."""
    return [note for note in results["notes"] if not note.startswith("CLIP finds")]


async def test_a_study_has_every_row_and_seed_and_its_report(folders):
    root, train, test = folders
    pool = write_pool(root / "pool.parquet")
    arms = ("mvc", {"method": "mvc", "strategy": "two_phase"}, "retrieval")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        several = pb.TrainingRecipe(node_count=2, gpus_per_node=4)
        request = study_of(pool, arms, training=several)
        study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
        results = json.loads(system.store.get(to_key(study.result.results_uri)))
        report = system.store.get(to_key(study.result.report_uri)).decode()
        runs = system.doubles["trainer"].runs
        names = [a.name for a in await augmentations(system)]
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
    figures = {(row["method"], row["strategy"]): row["images"] for row in results["rows"]}
    assert figures["baseline", "real"] is None
    assert figures["mvc", "combined"] == figures["mvc", "two_phase"]
    mixed, drawn = figures["mvc", "combined"], figures["oracle", "combined"]
    assert mixed["image_count"] == drawn["image_count"] == 6
    assert mixed["real_count"] == 6, "never test images"
    assert mixed["frechet_distance"] is None, "6 images in 64 dimensions"
    assert 0 <= mixed["precision"] <= 1 and mixed["kernel_distance_error"] > 0
    assert mixed["parent_distance"] > 0 and drawn["parent_distance"] is None
    assert "not of Inception" in report
    trained = {key: results["training"][key] for key in ("classifier", "step_count")}
    assert trained == {"classifier": "cnn4", "step_count": 300}, "the trainer's defaults are named"
    assert results["training"]["learning_rate"] == 0.004
    assert {(run.node_count, run.gpus_per_node) for run in runs} == {(2, 4)}
    assert (results["training"]["node_count"], results["training"]["gpus_per_node"]) == (2, 4)
    assert results["schema"] == "variegate.study/1" and results["best"]
    assert report.lower().startswith("<!doctype html>") and "retrieval" in report


async def compared(folders, pool, broken=(), numbers=None):
    """Returns the results of a study with this pool, and the manifest of its oracle."""
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        system.doubles["retriever"].broken = broken
        await system.import_folder(train, test)
        request = study_of(pool, arms=("simple",))
        request.study.pool_class_names.update(numbers or {})
        study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
        results = json.loads(system.store.get(to_key(study.result.results_uri)))
        key = "studies/s1/oracle-1.parquet"
        drawn = system.store.get(key) if system.store.exists(key) else b""
    return results, pq.read_table(io.BytesIO(drawn)).to_pylist() if drawn else []


def rewrite(pool, drop=(), keep=lambda row: True):
    rows = [row for row in pq.read_table(pool).to_pylist() if keep(row)]
    pq.write_table(pa.Table.from_pylist(rows).drop_columns(list(drop)), pool)
    return pool


async def test_the_oracle_has_labelled_images_of_the_pool_and_its_time(folders):
    results, drawn = await compared(folders, write_pool(folders[0] / "pool.parquet"))
    pictures = {
        sha256(picture(("pool", name, number))).hexdigest(): name
        for name in ("cat", "dog")
        for number in range(20)
    }
    assert [row["class_name"] for row in drawn] == ["cat"] * 3 + ["dog"] * 3
    assert all(pictures[row["sha256"]] == row["class_name"] for row in drawn)
    assert len({row["sha256"] for row in drawn}) == 6
    spent = [one["stage"] for one in results["timings"] if one["label"] == "oracle"]
    assert {"index", "oracle", "train"} == set(spent)
    assert not told(results)


@pytest.mark.parametrize("classes", [("cat", "dog"), ("2", "10")])
async def test_numbers_without_names_are_never_taken_for_classes(tmp_path, classes):
    folders = (
        tmp_path,
        write_folder(tmp_path / "train", classes=classes),
        write_folder(tmp_path / "test", classes=classes, count=2, tag="test"),
    )
    names = [str(number) for number in range(11)]
    pool = rewrite(write_pool(tmp_path / "pool.parquet", classes=names), drop=["class_name"])
    results, _ = await compared(folders, pool)
    assert [row["method"] for row in results["rows"]] == ["baseline", "simple"]
    [note] = [note for note in results["notes"] if "no oracle row" in note]
    assert "numbers its classes" in note


async def test_numbers_that_the_user_named_are_the_classes_of_the_oracle(folders):
    names = ("bird", "dog", "cat", "frog")
    pool = write_pool(folders[0] / "pool.parquet", classes=names)
    label = {row["class_name"]: row["label"] for row in pq.read_table(pool).to_pylist()}
    rewrite(pool, drop=["class_name"])
    numbers = {label[name]: name for name in ("cat", "dog", "frog")}
    results, drawn = await compared(folders, pool, numbers=numbers)
    pictures = {
        sha256(picture(("pool", name, number))).hexdigest(): name
        for name in names
        for number in range(20)
    }
    assert "oracle" in [row["method"] for row in results["rows"]] and not told(results)
    assert [row["class_name"] for row in drawn] == ["cat"] * 3 + ["dog"] * 3
    assert all(pictures[row["sha256"]] == row["class_name"] for row in drawn)


async def test_named_numbers_that_are_no_classes_or_have_no_pool_are_refused(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        for pool, said in (
            (write_pool(root / "pool.parquet"), "named classes is one of the dataset's"),
            ("", "there is no pool"),
        ):
            request = study_of(pool, arms=("simple",))
            request.study.pool_class_names[3] = "zebra"
            with pytest.raises(grpc.aio.AioRpcError, match=said) as caught:
                await system.stub.CreateStudy(request, timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_pool_without_labels_has_no_oracle_and_the_report_says_so(folders):
    pool = rewrite(write_pool(folders[0] / "pool.parquet"), drop=["class_name", "label"])
    results, _ = await compared(folders, pool)
    assert [row["method"] for row in results["rows"]] == ["baseline", "simple"]
    [note] = told(results)
    assert "no oracle row" in note and "class_name or label" in note


async def test_shards_that_were_left_out_are_told(folders):
    broken = [
        retriever_pb2.BrokenShard(reason="NOT_TAR", message=f"store:p/{number}.tar is no tar")
        for number in range(5)
    ]
    results, _ = await compared(folders, write_pool(folders[0] / "pool.parquet"), broken)
    assert told(results) == [
        "Of the pool these shards were left out: store:p/0.tar is no tar; store:p/1.tar is no tar; "
        "store:p/2.tar is no tar; and 2 more."
    ]


async def test_an_oracle_that_is_short_of_images_is_told(folders):
    pool = rewrite(
        write_pool(folders[0] / "pool.parquet"),
        keep=lambda row: row["class_name"] == "cat" or row["image"]["path"] == "dog/7.png",
    )
    results, drawn = await compared(folders, pool)
    assert [row["class_name"] for row in drawn] == ["cat"] * 3 + ["dog"]
    assert any("oracle of seed 1 has 4 of 6 images" in note for note in results["notes"])


async def test_rows_that_get_no_images_are_trained_as_the_baseline_is(folders):
    root, train, test = folders
    rows = [
        {"image": {"bytes": path.read_bytes()}, "class_name": path.parent.name}
        for path in sorted(test.rglob("*.png"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "pool.parquet")
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        request = study_of(root / "pool.parquet", arms=("retrieval", "simple"))
        study = await system.finish(await system.stub.CreateStudy(request, timeout=10))
        results = json.loads(system.store.get(to_key(study.result.results_uri)))
    added = {row.method: row.added_image_count for row in study.result.rows}
    assert added == {"baseline": 0, "oracle": 0, "retrieval": 0, "simple": 6}
    rows = {row["method"]: row for row in results["rows"]}
    assert rows["oracle"]["accuracies"] == rows["baseline"]["accuracies"]
    assert any("oracle of seed 1 has 0 of 6 images" in note for note in results["notes"])
    assert any("0 of 3" in text for text in rows["retrieval"]["shortfalls"])


async def test_without_a_pool_there_is_no_oracle(folders):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        operation = await system.stub.CreateStudy(study_of(arms=("simple",)), timeout=10)
        study = await system.finish(operation)
    assert [row.method for row in study.result.rows] == ["baseline", "simple"]


async def test_a_preview_of_a_study_makes_images_that_the_study_does_not_make_again(folders):
    root, train, test = folders
    request = study_of(arms=("mvc",))
    preview = augmentation_of(request.study, request.study.arms[0])
    preview.preview_count = 2
    async with open_system(root / "state", root) as system:
        await system.import_folder(train, test)
        create = pb.CreateAugmentationRequest(
            parent="datasets/pets", augmentation_id="first", augmentation=preview
        )
        await system.finish(await system.stub.CreateAugmentation(create, timeout=10))
        assert system.trouble.made == 2 * 2
        await system.finish(await system.stub.CreateStudy(request, timeout=10))
        assert system.trouble.made == 2 * 2 * 3, "two seeds, two classes, three images"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"arms": ("nope",)}, "study.arms[0].method", "no method 'nope'"),
        ({"arms": ("retrieval",)}, "study.pool_uri", "searches a pool"),
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
