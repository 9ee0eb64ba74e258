"""Which datasets of a state folder `clean` keeps."""

import json
from shutil import rmtree

import pytest

from gateway.api.catalog import Catalog
from gateway.api.resources import Dataset, DatasetSource, Study, StudyArm, StudyTestSet
from gateway.cli.needs import needs_of
from gateway.cli.outputs import MARKER
from gateway.cli.records import record
from servicekit.storage import DirectoryStore

DATASETS = ("first", "second", "sketches")


@pytest.fixture
def state(tmp_path):
    """Two studies of the same datasets: a draw for each seed, and one more to be tested on."""
    catalog = Catalog(DirectoryStore(tmp_path / "state" / "objects"))
    for name in DATASETS:
        catalog.claim(dataset := Dataset(f"datasets/{name}", DatasetSource(f"file:///{name}")))
        catalog.finish(dataset)
    for name in ("kept", "dropped"):
        study = Study(
            f"studies/{name}",
            "datasets/first",
            (StudyArm("simple"),),
            images_per_class=1,
            seeds=(0, 1),
            seed_datasets=("datasets/first", "datasets/second"),
            test_sets=(StudyTestSet("sketch", "datasets/sketches"),),
        )
        catalog.claim(study)
        catalog.finish(study)
        out = tmp_path / name
        out.mkdir()
        (out / MARKER).write_text(json.dumps({"state": "finished", "study": study.name}))
        record(tmp_path / "state", study.name, out)
    return tmp_path / "state"


@pytest.mark.parametrize("everything", [False, True])
def test_what_a_kept_study_needs_is_kept_though_another_is_free(state, everything):
    rmtree(state.parent / "dropped")
    needs = needs_of(state, everything=everything)
    assert needs.free == {"studies/dropped"}, needs
    assert {f"datasets/{name}" for name in DATASETS} <= needs.needed


def test_datasets_of_studies_that_are_gone_are_free(state):
    for name in ("kept", "dropped"):
        rmtree(state.parent / name)
    needs = needs_of(state, everything=False)
    assert needs.free == {"studies/kept", "studies/dropped", *(f"datasets/{n}" for n in DATASETS)}
