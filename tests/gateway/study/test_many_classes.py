"""The report of a study of a thousand classes: small enough to send, and to be opened."""

import hashlib
import random
import re

import pytest

from gateway.api.resources import ClassPrompts
from gateway.augment.recognition import ClassRecognition
from gateway.augment.rows import ManifestRow, write_rows
from gateway.augment.senses import Sense, SenseChoice
from gateway.export.results import DatasetSummary
from gateway.study import (
    Arm,
    AugmentationRecord,
    StudySpec,
    build_gallery,
    build_results,
    render_report,
)
from servicekit.storage import MemoryStore, to_uri
from tests.gateway.pictures import picture
from tests.gateway.study.conftest import GAINS, SEEDS, put_table, run

CLASSES = 1000
NAMES = tuple(f"a class whose name is not short {number:04}" for number in range(CLASSES))


class OnePicture(MemoryStore):
    """Images of photographs' size that all look the same."""

    _picture = picture("made", (64, 64))

    def get(self, key):
        return self._picture if key.startswith("images/") else super().get(key)


def rows_of(method):
    for label, name in enumerate(NAMES):
        for number in range(3):
            key = hashlib.sha256(f"{method} {name} {number}".encode()).hexdigest()
            yield ManifestRow(
                item_id=key[:32],
                image_uri=to_uri(f"images/{key}.png"),
                sha256=key,
                label=label,
                class_name=name,
                method=method,
                source="generated",
                parents=(f"{label:032}",),
                prompt=f"This is an image of {name} with a dog that sits beside it on a lawn",
                lineage='{"captions":["one thing","another thing"],"index":1}',
            )


def augmentation(store, method):
    name, chance = f"datasets/many/augmentations/{method}", random.Random(method)
    store.put(f"{name}/manifest.parquet", write_rows(rows_of(method)))
    sense = SenseChoice(Sense("dog.n.01", "a domestic animal that barks"), 0.019, True)
    return AugmentationRecord(
        arm=Arm(method, "combined"),
        seed=0,
        name=name,
        manifest_uri=to_uri(f"{name}/manifest.parquet"),
        accepted_count=3 * CLASSES,
        prompts=tuple(
            ClassPrompts(one, 80, sense=sense) for one in NAMES if method == "contextual"
        ),
        recognition=tuple(
            ClassRecognition(one, 64, 50, 64, chance.randrange(64), CLASSES) for one in NAMES
        ),
    )


@pytest.fixture(scope="module")
def html():
    store, chance = OnePicture(), random.Random(0)
    real = [
        {"item_id": f"{label:032}", "image_uri": to_uri(f"images/{label}.png")}
        for label in range(CLASSES)
    ]
    arms = tuple(Arm(method, "combined") for method in GAINS)
    rows = (Arm("baseline", "real"), Arm("oracle", "combined"), *arms)
    shift = dict.fromkeys(NAMES, 0.0)
    flat = [run(chance, arm, seed, 0.0, NAMES, shift) for arm in rows for seed in SEEDS]
    counts = (2,) * CLASSES
    summary = DatasetSummary("datasets/many", "0", NAMES, counts, counts)
    augmentations = [augmentation(store, method) for method in GAINS]
    results = build_results(StudySpec("many", summary, 3, SEEDS, arms), flat, augmentations)
    manifest = put_table(store, "datasets/many/m.parquet", real)
    return render_report(
        results,
        build_gallery(store, dict.fromkeys(SEEDS, manifest), augmentations, images_per_class=3),
    )


def test_the_report_of_a_thousand_classes_is_below_ten_megabytes(html):
    assert len(html.encode()) < 10e6


def test_of_a_thousand_doubtful_names_a_note_has_some_and_says_how_many_more(html):
    [note] = re.findall(r"contextual: the photographs do not tell[^<]*", html)
    assert note.count("a domestic animal") == 40 and "and 960 other classes" in note


def test_every_class_of_every_row_is_in_it(html):
    assert all(html.count(name) > len(GAINS) for name in (NAMES[0], NAMES[500], NAMES[-1]))
    assert html.count("data:image/") > 100


def test_a_browser_lays_out_what_is_in_sight_first(html):
    """With all sections laid out at once a thousand classes take it some ten times as long."""
    style = html[html.index("<style>") : html.index("</style>")]
    assert "main > section:not(.hero) { content-visibility: auto;" in style
