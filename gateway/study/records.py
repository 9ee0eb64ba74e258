"""What a study measured, before any statistics: the input of `build_results`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.api.resources import ClassPrompts
from gateway.api.row_images import USUAL_IMAGES, RowImages
from gateway.augment.lengths import NO_PROMPTS, PromptLengths
from gateway.augment.recognition import ClassRecognition
from gateway.clients.trainer import SetScore
from gateway.export.results import DatasetSummary, SeedSubset
from gateway.export.statistics import mean


@dataclass(frozen=True)
class Arm:
    """One row to be: a method with its parameters, and how its images are trained on.

    An empty policy or classifier is the study's, and 0 images per class are all that it makes. With
    a `selection` it is a candidate for a row; that row itself has the names of the parameters that
    were `selected`.
    """

    method: str
    strategy: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    classifier: str = ""
    images_per_class: int = 0
    images: RowImages = USUAL_IMAGES
    selection: str = ""
    selected: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Tells arms apart; two arms of one method may differ in all else."""
        return (
            self.method,
            self.strategy,
            tuple(sorted(self.parameters.items())),
            self.policy,
            self.classifier,
            self.images,
            self.selection,
            self.selected,
            self.images_per_class,
        )

    @property
    def setting(self) -> tuple[str, str]:
        """What a row shares with those that it is compared with: policy and classifier."""
        return self.policy, self.classifier

    @property
    def series(self) -> tuple[object, ...]:
        """What the rows of a scaling curve share: all but how many images they add."""
        return self.key[:-1]

    @property
    def making(self) -> tuple[str, ...]:
        """What people read of how its images are made, where that is not as usual."""
        return tuple(_words(self.images))

    @property
    def label(self) -> str:
        """What people read: the method, and only what differs from the usual."""
        extras = [] if self.strategy in ("", "combined", "real") else [self.strategy]
        extras += [part for part in (self.policy, self.classifier) if part]
        extras += [f"{self.images_per_class:,} a class"] if self.images_per_class else []
        extras += [f"{name}={value}" for name, value in sorted(self.parameters.items())]
        extras += [f"{name} selected" for name in self.selected]
        extras += self.making
        extras += ["candidate"] if self.selection and not self.selected else []
        return f"{self.method} ({', '.join(extras)})" if extras else self.method


def _words(images: RowImages) -> list[str]:
    words = ["added folder"] if images.added_manifest_uri else []
    if images.guidance_scale is not None:
        words.append(f"guidance {images.guidance_scale:g}")
    if images.negative_prompt:
        words.append(f"without {images.negative_prompt!r}")
    if images.keep:
        words.append(f"best of {images.make_factor:g} by {images.keep}")
    if images.class_counts:
        counts = [count for _, count in images.class_counts]
        words.append(f"{min(counts):,} to {max(counts):,} a class")
    return words


@dataclass(frozen=True)
class StudySpec:
    """What was asked for. `arms` are the rows that are methods; `training` is the recipe by
    name, as far as it was asked for; with `counts_passes` it is the baseline's. `subsets` are
    those that the seeds draw, where each draws its own; `dataset` is then the first."""

    name: str
    dataset: DatasetSummary
    images_per_class: int
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    counts_passes: bool = False
    training: Mapping[str, str | int | float] = field(default_factory=dict)
    deterministic: bool = False
    safety: str = "a sample of every row"
    subsets: tuple[SeedSubset, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """One trained and tested classifier. Accuracies are shares from 0 to 1.

    That of a class without test images is None, as is that on images to choose by where there are
    none. `recipe` is how it was trained, by name, with the
    defaults filled in; `done_steps` of its steps were taken, and the weights after `chosen_step`
    of them tested. `name` is that of the training run, "" where it is not known, and `metrics_uri`
    its curve.
    """

    arm: Arm
    seed: int
    accuracy: float
    class_accuracies: Mapping[str, float | None]
    real_image_count: int = 0
    added_image_count: int = 0
    test_image_count: int = 0
    seconds: float = 0.0
    # By stage, of getting the row's images where no augmentation made them.
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, str | int | float] = field(default_factory=dict)
    validation_accuracy: float | None = None
    test_sets: Mapping[str, SetScore] = field(default_factory=dict)
    done_steps: int = 0
    chosen_step: int = 0
    name: str = ""
    metrics_uri: str = ""
    top5_accuracy: float | None = None
    calibration_error: float | None = None

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the accuracies of the classes that have test images."""
        known = [value for value in self.class_accuracies.values() if value is not None]
        return mean(known) if known else self.accuracy


@dataclass(frozen=True)
class AugmentationRecord:
    """One row's share of a finished augmentation: all of its images, or the first of each class.

    `seconds` is by stage, of all images and so many as are accepted in `whole_count`;
    `rejected_reasons` counts by reason.
    """

    arm: Arm
    seed: int
    name: str
    manifest_uri: str
    rejected_uri: str = ""
    accepted_count: int = 0
    whole_count: int = 0
    rejected_count: int = 0
    rejected_reasons: Mapping[str, int] = field(default_factory=dict)
    shortfalls: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    prompts: tuple[ClassPrompts, ...] = ()
    lengths: PromptLengths = NO_PROMPTS
    recognition: tuple[ClassRecognition, ...] = ()
