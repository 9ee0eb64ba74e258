"""Study results: the rows of the comparison and everything needed to read them.

`StudyResults.to_json` is the file `results.json`. Its schema, "variegate.study/1":
  study                  id of the study
  dataset                name, digest, class_names, train_counts, test_counts, warnings, ...
  images_per_class       images that every row adds to each class
  seeds                  training seeds, in the order of every list "accuracies"
  training               recipe of the classifiers, as far as it is the same in every row
  rows[]                 baseline, oracle, then the arms: see `ResultRow`
  best                   label of the best row besides baseline and oracle; null without one
  timings[]              seconds by row and stage, with the service that spent them
  failures[]             rows with a seed that have no result: label, seed, stage, message
  subsets[]              seed, dataset, digest and subset_seed, where each seed draws its own images
  selections[]           rows whose parameters were selected on validation images: see `Selection`
  counts_passes          true if rows with more images took more steps; else all took equally many
  rejected               count of rejected images by reason, over all rows
  machine                what it ran on
  notes                  sentences for people, such as a leak between splits
All accuracies, gains and errors are shares from 0 to 1; null is what cannot be said: an error from
one seed, the accuracy of a class without test images.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.export.selections import Selection, selection_of
from gateway.export.statistics import Comparison
from gateway.export.trained_runs import TrainedRun, run_of

SCHEMA = "variegate.study/1"
BASELINE = "baseline"
MATCHED = "matched"
ORACLE = "oracle"
# The rows that are no method, in the order in which they are shown.
REFERENCES = (BASELINE, MATCHED, ORACLE)


@dataclass(frozen=True)
class StudyFailure:
    """A row with a seed that has no result. `stage` is "images" or "training"."""

    label: str
    seed: int
    stage: str
    message: str


@dataclass(frozen=True)
class DatasetSummary:
    """The dataset of a study. `class_names` are sorted by label; counts are in the same order."""

    name: str
    digest: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    rejected_file_count: int = 0
    validation_counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class SeedSubset:
    """The draw of real images that all rows of a seed have. `subset_seed` says which it is."""

    seed: int
    dataset: str
    digest: str
    subset_seed: int


@dataclass(frozen=True)
class ClassGain:
    """One class of one row against the baseline, paired by seed.

    All figures are None for a class without test images, and the errors for a single seed.
    """

    class_name: str
    accuracy: float | None
    standard_error: float | None
    gain: float | None
    gain_standard_error: float | None


@dataclass(frozen=True)
class ImageFigures:
    """How far the images of a row are from the real training images, and how varied they are.

    Of vectors of `encoder`, a CLIP image encoder, so these are not the figures of Inception that
    papers report. Counts are of the images looked at; with several seeds all figures are means over
    them. None is what cannot be said: of too few images, or without scores or parents.
    Distances: Frechet 0 to 4, kernel about 0 to 8 (below 0 by chance), nearest parent 0 to 2
    (cosine). Precision and recall are shares.
    """

    encoder: str
    image_count: int
    real_count: int
    frechet_distance: float | None = None
    kernel_distance: float | None = None
    kernel_distance_error: float | None = None
    precision: float | None = None
    recall: float | None = None
    clip_score: float | None = None
    parent_distance: float | None = None


@dataclass(frozen=True)
class ResultRow:
    """One row of the table. The baseline's gains are 0, and errors None for a single seed.

    `balanced` is the same for the balanced accuracy: the mean over the classes with test images.
    `test_sets` are those figures for the accuracy on each further test set, by its name.
    `training` is what of the row's recipe is not the same in all rows. `gain_interval` and
    `p_value` are as in `Comparison`; `p_holm` is the p-value after Holm's correction for all rows
    that are methods, None for the others. `policy`, `classifier` and `images_per_class` are set
    where the row differs from the study. `images` is of all images that its method made, also
    where the row takes the first of each class only. It is compared with the baseline of its own
    policy and classifier, over `seeds`. `seconds_per_image` is what an accepted image took, and
    `seconds_per_point` what its images took for each point gained; None where nothing was.
    `validation_accuracies` are those on the images to choose by, seed by seed, where there are any.
    `making` says what of its images is not as usual, besides parameters; the label has it, too.
    `done_steps` and `chosen_steps` are, seed by seed, the steps taken and the step whose weights
    were tested, where images to choose by decided that. `training_runs` are its classifiers.
    """

    method: str
    strategy: str
    parameters: Mapping[str, str]
    label: str
    accuracies: tuple[float, ...]
    mean_accuracy: float
    standard_error: float | None
    gain: float
    gain_standard_error: float | None
    beats_baseline: bool
    classes: tuple[ClassGain, ...]
    real_image_count: int
    added_image_count: int
    test_image_count: int
    augmentations: tuple[str, ...] = ()
    rejected_count: int = 0
    rejected_reasons: Mapping[str, int] = field(default_factory=dict)
    shortfalls: tuple[str, ...] = ()
    prompts: Mapping[str, float] = field(default_factory=dict)
    senses: tuple[Mapping[str, Any], ...] = ()
    cut_prompts: Mapping[str, int] = field(default_factory=dict)
    recognition: tuple[Mapping[str, Any], ...] = ()
    loses_to_baseline: bool = False
    balanced: Comparison | None = None
    gain_interval: tuple[float, float] | None = None
    p_value: float | None = None
    p_holm: float | None = None
    policy: str = ""
    classifier: str = ""
    images_per_class: int = 0
    seeds: tuple[int, ...] = ()
    seconds_per_image: float | None = None
    seconds_per_point: float | None = None
    training: Mapping[str, str | int | float] = field(default_factory=dict)
    images: ImageFigures | None = None
    validation_accuracies: tuple[float, ...] = ()
    test_sets: Mapping[str, Comparison] = field(default_factory=dict)
    making: tuple[str, ...] = ()
    done_steps: tuple[int, ...] = ()
    chosen_steps: tuple[int, ...] = ()
    training_runs: tuple[TrainedRun, ...] = ()

    @property
    def is_reference(self) -> bool:
        """True for the rows that are no method: baseline, matched and oracle."""
        return self.method in REFERENCES


@dataclass(frozen=True)
class Timing:
    """Seconds that one stage of one row took, summed over seeds."""

    label: str
    service: str
    stage: str
    seconds: float


@dataclass(frozen=True)
class StudyResults:
    """Everything a study found; equal to its own `results.json`."""

    study: str
    dataset: DatasetSummary
    images_per_class: int
    seeds: tuple[int, ...]
    training: Mapping[str, str | int | float]
    deterministic: bool
    safety: str
    rows: tuple[ResultRow, ...]
    timings: tuple[Timing, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    machine: Mapping[str, str | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failures: tuple[StudyFailure, ...] = ()
    counts_passes: bool = False
    subsets: tuple[SeedSubset, ...] = ()
    selections: tuple[Selection, ...] = ()

    @property
    def baseline(self) -> ResultRow:
        """The row of real images only."""
        return next(row for row in self.rows if row.method == BASELINE)

    @property
    def is_grid(self) -> bool:
        """True if rows differ in policy, classifier, number of images or steps."""
        varied = any(row.policy or row.classifier or row.images_per_class for row in self.rows)
        return varied or self.counts_passes

    @property
    def test_sets(self) -> tuple[str, ...]:
        """The names of the further test sets."""
        return tuple(self.rows[0].test_sets)

    def baseline_of(self, row: ResultRow) -> ResultRow:
        """The row of real images only that a row is compared with."""
        setting = (row.policy, row.classifier)
        found = (one for one in self.rows if one.method == BASELINE)
        return next(one for one in found if (one.policy, one.classifier) == setting)

    @property
    def oracle(self) -> ResultRow | None:
        """Real images and labelled pool images, if there is a pool."""
        return next((row for row in self.rows if row.method == ORACLE), None)

    @property
    def is_unequal(self) -> bool:
        """True if classes have different numbers of test images, so that accuracy favours some."""
        return len({count for count in self.dataset.test_counts if count}) > 1

    @property
    def methods(self) -> tuple[ResultRow, ...]:
        """The rows that are methods, in the order they were asked for."""
        return tuple(row for row in self.rows if not row.is_reference)

    @property
    def best(self) -> ResultRow | None:
        """The method with the highest mean accuracy; the first of equals."""
        return max(self.methods, key=lambda row: row.mean_accuracy, default=None)

    def to_json(self) -> str:
        """The text of `results.json`; equal results give equal bytes."""
        best = self.best.label if self.best else None
        document = {"schema": SCHEMA, "best": best, **dataclasses.asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "StudyResults":
        """Reads `results.json`. Raises ValueError if it is another kind of file."""
        document = json.loads(text)
        schema = document.pop("schema", None) if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise ValueError(f"This is not a results file: it says {schema!r}, not {SCHEMA!r}.")
        document.pop("best", None)
        dataset = DatasetSummary(**_tuples(document.pop("dataset")))
        readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "rows": _row,
            "timings": lambda one: Timing(**one),
            "failures": lambda one: StudyFailure(**one),
            "subsets": lambda one: SeedSubset(**one),
            "selections": selection_of,
        }
        lists: dict[str, Any] = {
            name: tuple(map(read, document.pop(name, ()))) for name, read in readers.items()
        }
        return cls(dataset=dataset, **lists, **_tuples(document))


def _row(document: dict[str, Any]) -> ResultRow:
    classes = tuple(ClassGain(**gain) for gain in document.pop("classes"))
    balanced = document.pop("balanced", None)
    if balanced is not None:
        balanced = Comparison(**_tuples(balanced))
    images, sets = document.pop("images", None), document.pop("test_sets", {})
    return ResultRow(
        classes=classes,
        balanced=balanced,
        images=ImageFigures(**images) if images else None,
        test_sets={name: Comparison(**_tuples(one)) for name, one in sets.items()},
        training_runs=tuple(map(run_of, document.pop("training_runs", ()))),
        **_tuples(document),
    )


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists only; the dataclasses hold tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
