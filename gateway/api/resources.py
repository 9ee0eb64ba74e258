"""Datasets, augmentations and studies as values; the protos' own words without the protos."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from datafiles.rejected import RejectedFile
from gateway.api.row_images import USUAL_IMAGES, RowImages
from gateway.augment.lengths import NO_PROMPTS, PromptLengths
from gateway.augment.recognition import ClassRecognition
from gateway.augment.senses import SenseChoice
from gateway.datasets.display_names import readable
from gateway.datasets.protocols import WHOLE, Subset
from gateway.export.results import StudyFailure


@dataclass(frozen=True)
class DatasetSource:
    """Where the images of a dataset are, how to read them, and which of them are used.

    `display_names` are what people chose to call classes in texts, by class. Other meanings as in
    variegate.gateway.v1.DatasetSource; without `finds_layout` the first folders are the classes.
    """

    train_uri: str
    test_uri: str = ""
    subset: Subset = WHOLE
    display_names: Mapping[str, str] = field(default_factory=dict)
    image_column: str = ""
    label_column: str = ""
    finds_layout: bool = True
    follow_links: bool = False
    refuse_leaks: bool = False


@dataclass(frozen=True)
class DatasetClass:
    """One class of a dataset. `display_name` is what texts call it.

    `available_count` are the training images that the declared subset was drawn from, 0 if that is
    not known.
    """

    class_name: str
    label: int
    train_count: int
    test_count: int
    display_name: str = ""
    validation_count: int = 0
    available_count: int = 0

    @property
    def called(self) -> str:
        """What texts call it, also for a dataset of before it was written down."""
        return self.display_name or readable(self.class_name)


@dataclass(frozen=True)
class Dataset:
    """A labelled image set in the object store."""

    name: str
    source: DatasetSource
    manifest_uri: str = ""
    digest: str = ""
    classes: tuple[DatasetClass, ...] = ()
    rejected_files: tuple[RejectedFile, ...] = ()
    warnings: tuple[str, ...] = ()
    # (reason, number of files), of all that were left out
    rejected_counts: tuple[tuple[str, int], ...] = ()

    @property
    def has_validation(self) -> bool:
        """Says whether some images are kept to choose by."""
        return any(one.validation_count for one in self.classes)


@dataclass(frozen=True)
class Recipe:
    """What an augmentation is to make. Meanings as in variegate.gateway.v1.Augmentation."""

    method: str
    images_per_class: int
    seed: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    train_item_ids: tuple[str, ...] = ()
    pool_uri: str = ""
    steps: int = 0
    guidance_scale: float | None = None
    deterministic: bool = False
    check_safety: bool = False
    safety_sample: int = 0
    preview_count: int = 0
    rejections_uri: str = ""
    class_counts: Mapping[str, int] = field(default_factory=dict)
    fill_up: bool = False
    negative_prompt: str = ""
    make_factor: float = 0.0
    keep: str = ""

    def count_of(self, class_name: str, real_count: int) -> int:
        """Accepted images to make of a class with so many training images, in all."""
        count = self.class_counts.get(class_name, self.images_per_class)
        return max(count - real_count, 0) if self.fill_up else count

    def wanted_of(self, class_name: str, real_count: int) -> int:
        """Accepted images to make of a class now: all, or the first for a preview."""
        count = self.count_of(class_name, real_count)
        return min(count, self.preview_count) if self.preview_count else count

    def to_make(self, wanted: int) -> int:
        """Accepted images to make where so many are wanted: all of them, or more to choose from."""
        return math.ceil(wanted * self.make_factor) if self.keep else wanted


@dataclass(frozen=True)
class Shortfall:
    """A class that did not reach its number."""

    class_name: str
    wanted: int
    made: int
    reason: str


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of one class in figures, and what its name was taken to mean.

    Meanings as in variegate.gateway.v1.ClassPrompts.
    """

    class_name: str
    prompt_count: int
    failed_count: int = 0
    repeated_count: int = 0
    clip_cut_count: int = 0
    fallback_count: int = 0
    distinct_1: float = 0.0
    distinct_2: float = 0.0
    mean_distance: float = 0.0
    sense: SenseChoice | None = None
    method: str = ""


@dataclass(frozen=True)
class KeptImages:
    """What a choice among more images than wanted came to. As variegate.gateway.v1.KeptImages."""

    score: str
    made_count: int
    kept_count: int
    unkept_uri: str = ""
    made_score: float = 0.0
    kept_score: float = 0.0
    made_distance: float = 0.0
    kept_distance: float = 0.0


@dataclass(frozen=True)
class AugmentationResult:
    """What an augmentation made. `seconds` is by stage."""

    manifest_uri: str
    digest: str
    accepted_count: int
    rejected_count: int
    rejected_uri: str
    shortfalls: tuple[Shortfall, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    prompts: tuple[ClassPrompts, ...] = ()
    notices: tuple[str, ...] = ()
    recognition: tuple[ClassRecognition, ...] = ()
    lengths: PromptLengths = NO_PROMPTS
    kept: KeptImages | None = None


@dataclass(frozen=True)
class Augmentation:
    """An augmentation of the dataset that its name starts with.

    `models` are what it is made with, by role.
    """

    name: str
    recipe: Recipe
    result: AugmentationResult | None = None
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """Name of the dataset, "datasets/ID"."""
        return self.name.partition("/augmentations/")[0]


@dataclass(frozen=True)
class StudyArm:
    """One row of a study. An empty strategy means "combined", an empty policy or classifier that of
    the study, and 0 images per class all that the study makes."""

    method: str
    strategy: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    classifier: str = ""
    images_per_class: int = 0
    images: RowImages = USUAL_IMAGES
    selection: str = ""


@dataclass(frozen=True)
class TrainingRecipe:
    """How classifiers are trained; empty and 0 mean the trainer's defaults."""

    policy: str = ""
    classifier: str = ""
    step_count: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    image_size: int = 0
    node_count: int = 0
    gpus_per_node: int = 0
    initial_weights_uri: str = ""
    freeze: bool = False
    schedule: str = ""
    choose: str = ""

    def plain(self) -> dict[str, str | int | float]:
        """The recipe by name. Who did not ask for several processes is not told of them.

        Several come to the same result but for rounding, so that it is theirs alone.
        """
        older = ("policy", "classifier", "step_count", "batch_size", "learning_rate", "image_size")
        return {k: v for k, v in vars(self).items() if v or k in older}


@dataclass(frozen=True)
class StudyTestSet:
    """Images of a dataset that a study's classifiers are tested on besides its own."""

    name: str
    dataset: str


@dataclass(frozen=True)
class StudyRow:
    """One row of a study's result."""

    method: str
    strategy: str
    accuracies: tuple[float, ...]
    mean_accuracy: float
    standard_error: float | None
    augmentations: tuple[str, ...] = ()
    added_image_count: int = 0
    policy: str = ""
    classifier: str = ""
    images_per_class: int = 0
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """Results of a study."""

    rows: tuple[StudyRow, ...]
    results_uri: str
    report_uri: str
    summary_uri: str = ""
    failures: tuple[StudyFailure, ...] = ()


@dataclass(frozen=True)
class Study:
    """A comparison of methods. Meanings as in variegate.gateway.v1.Study.

    With `counts_passes` rows with more images take more steps (TRAINING_BUDGET_PASSES).
    `seed_datasets` are those of the seeds, or none, where all have `dataset`.
    """

    name: str
    dataset: str
    arms: tuple[StudyArm, ...]
    images_per_class: int
    seeds: tuple[int, ...]
    pool_uri: str = ""
    pool_class_names: Mapping[int, str] = field(default_factory=dict)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    counts_passes: bool = False
    deterministic: bool = False
    check_safety: bool = False
    result: StudyResult | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    test_sets: tuple[StudyTestSet, ...] = ()
    seed_datasets: tuple[str, ...] = ()

    def dataset_of(self, seed: int) -> str:
        """The name of the dataset that a seed's rows have."""
        return dict(zip(self.seeds, self.seed_datasets, strict=False)).get(seed, self.dataset)
