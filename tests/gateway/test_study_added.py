"""Studies with rows of images that are there already: another tool's, or of a run before."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from servicekit.storage import to_key
from tests.gateway.studying import augmentations, finished, study_of
from tests.gateway.system import open_system, rows_of


def write_added(store, manifest_uri, parents=()):
    """Puts one image a class of another tool into the store, as the command line does."""
    rows = [row for row in rows_of(store, manifest_uri) if row["split"] == "test"][::2]
    names = ("item_id", "image_uri", "sha256", "label", "class_name")
    table = pa.Table.from_pylist(
        [{**{n: r[n] for n in names}, "source": "external", "parents": [*parents]} for r in rows]
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    store.put("synthetic/theirs.parquet", buffer.getvalue())
    return "store:synthetic/theirs.parquet", len(rows)


async def test_images_that_are_there_are_a_row_beside_those_that_are_made(folders, fails):
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test)
        uri, count = write_added(system.store, dataset.manifest_uri)
        arms = (
            "simple",
            {
                "method": "simple",
                "make_factor": 2,
                "keep": "clip_score",
                "negative_prompt": "blurry",
                "guidance_scale": 3,
                "class_counts": {dataset.classes[0].class_name: 1},
            },
            {"method": "theirs", "added_manifest_uri": uri},
        )
        request = study_of(arms=arms)
        study, results = await finished(system, request)
        runs = system.doubles["trainer"].runs
        asked = [row for row in await augmentations(system) if row.keep]
        for wrong, reason in (
            ({"method": "simple"}, "BAD_ADDED_IMAGES"),
            ({"method": "oracle"}, "BAD_ADDED_IMAGES"),
            ({"method": "t", "images_per_class": 1}, "BAD_ADDED_IMAGES"),
            ({"method": "t", "guidance_scale": 0}, "BAD_ADDED_IMAGES"),
            ({"method": "t", "added_manifest_uri": "store:none.parquet"}, "MANIFEST_MISSING"),
        ):
            bad = study_of(arms=({"added_manifest_uri": uri} | wrong,))
            error = await fails(system.stub.CreateStudy(bad, timeout=10))
            assert error.reason == reason, wrong
        for wrong, reason in (
            ({"make_factor": 2}, "BAD_CHOICE"),
            ({"class_counts": {"wolf": 1}}, "UNKNOWN_CLASS"),
            ({"method": "boomerang", "negative_prompt": "x"}, "NO_GUIDANCE"),
        ):
            bad = study_of(arms=({"method": "simple"} | wrong,))
            error = await fails(system.stub.CreateStudy(bad, timeout=10))
            assert error.reason == reason and error.field.startswith("study.arms[0]")
    rows = {row["label"]: row for row in results["rows"]}
    made = "simple (guidance 3, without 'blurry', best of 2 by clip_score, 1 to 1 a class)"
    assert list(rows) == ["baseline", "simple", made, "theirs (added folder)"]
    assert rows["simple"]["added_image_count"] == 6 and rows[made]["added_image_count"] == 4
    assert rows["theirs (added folder)"]["added_image_count"] == count
    assert rows["theirs (added folder)"]["images"]["clip_score"] is None, "it has no scores"
    assert rows["theirs (added folder)"]["images"]["image_count"] == count
    assert {run.synthetic_manifest_uri for run in runs if run.seed == 1} >= {uri}
    as_asked = [(one.make_factor, one.negative_prompt, one.guidance_scale) for one in asked]
    assert as_asked == [(2, "blurry", 3)] * 2
    assert study.arms[2].added_image_count == count


async def test_two_manifests_that_say_the_same_are_two_trainings(folders):
    """The trainer takes an id for one request alone, and a request names its manifests."""
    root, train, test = folders
    async with open_system(root / "state", root) as system:
        dataset = await system.import_folder(train, test)
        uri, count = write_added(system.store, dataset.manifest_uri)
        copy = "store:synthetic/copy.parquet"
        system.store.put(to_key(copy), system.store.get(to_key(uri)))
        arms = tuple(
            {"method": name, "added_manifest_uri": one} for name, one in (("a", uri), ("b", copy))
        )
        _, results = await finished(system, study_of(arms=arms))
    assert not results["failures"]
    assert [row["added_image_count"] for row in results["rows"]] == [0, count, count]
