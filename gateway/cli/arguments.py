"""What was asked for on the command line, as plain values that load nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.cli import inputs
from gateway.cli.image_options import USUAL, AddedRows, ImageOptions
from gateway.cli.initial_weights import RANDOM, Weights
from gateway.cli.subset import Subset
from gateway.cli.test_sets import TestSets


@dataclass(frozen=True)
class AugmentArguments:
    """What was asked for on the command line; equal recipes are one run."""

    source: str
    test: str | None
    subset: Subset
    method: str
    per_class: int
    seed: int
    steps: int
    guidance: float | None
    pool: str | None
    deterministic: bool
    check_safety: bool
    class_names: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    display_names: dict[str, str] = field(default_factory=dict)
    refuse_leaks: bool = False
    reading: inputs.Reading = inputs.USUAL
    class_counts: dict[str, int] = field(default_factory=dict)
    fill_up: bool = False
    negative_prompt: str = ""
    make: float = 0.0
    keep: str = ""
    accuracies: dict[str, float | None] = field(default_factory=dict)

    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """The method and its parameters, to be checked."""
        return [(self.method, self.parameters)]

    def run_id(self, models: Mapping[str, str], review: str = "") -> str:
        """The id of the run with the models that the system has, by role.

        `review` is the digest of what a person rejected.
        """
        reviewed = {"review": review} if review else {}
        return inputs.run_id(self.method, {**self._values(), "models": dict(models), **reviewed})

    def output_id(self, form: str) -> str:
        """What an output folder belongs to: a command, in a format."""
        return f"{inputs.run_id(self.method, self._values())} {form}"

    def _values(self) -> dict[str, object]:
        """What ids are made of, which newer options do not change for who has none."""
        newer = ("class_counts", "fill_up", "negative_prompt", "make", "keep", "accuracies")
        return {name: v for name, v in vars(self).items() if v or name not in newer}


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its output, and how much of it is made now.

    With `plan` nothing but the plan is made; a `preview` above 0 makes so many images a class;
    `yes` is the answer to every question. `command` is the command line that asked for it,
    and `track` where its training runs are logged as well.
    """

    out: Path
    form: str = ""
    resume: bool = False
    overwrite: bool = False
    plan: bool = False
    preview: int = 0
    yes: bool = False
    command: str = ""
    track: str | None = None

    def output_id(self, run: str) -> str:
        """What the output folder belongs to: a run (its id), or so much of it."""
        return f"{run} preview {self.preview}" if self.preview else run


@dataclass(frozen=True)
class TrainingRecipe:
    """How classifiers are trained; "" and 0 mean the trainer's defaults."""

    policy: str = ""
    classifier: str = ""
    step_count: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    image_size: int = 0
    node_count: int = 0
    gpus_per_node: int = 0
    weights: Weights = RANDOM
    freeze: bool = False
    schedule: str = ""
    choose: str = ""

    def values(self) -> dict[str, Any]:
        """The fields of the messages that ask for it."""
        values = {name: value for name, value in vars(self).items() if name != "weights"}
        return values | {"initial_weights_uri": self.weights.uri}


@dataclass(frozen=True)
class OutputOptions:
    """Where what was trained is kept, and what to do with what is there."""

    out: Path
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class TrainArguments:
    """What was asked for on the command line."""

    source: str
    test: str | None
    synthetic: tuple[Path, ...]
    strategy: str
    seeds: int
    subset: Subset
    training: TrainingRecipe
    compare: bool
    refuse_leaks: bool = False
    reading: inputs.Reading = inputs.USUAL
    kept: OutputOptions | None = None
    test_sets: TestSets = ()
    onnx: bool = False

    def places(self) -> list[str | None]:
        """The places of all images that are imported."""
        return [self.source, self.test, *(place for _, place in self.test_sets)]

    def run_id(self) -> str:
        """The id of the run, wherever it is kept."""
        newer = ("test_sets", "onnx")  # Who has none keeps the ids that there were.
        values = {name: value for name, value in vars(self).items() if name != "kept"}
        args = {name: value for name, value in values.items() if value or name not in newer}
        return inputs.run_id("train", args)


@dataclass(frozen=True)
class Expected:
    """What a study file says of the training images that it is meant for."""

    classes: int
    images: int


@dataclass(frozen=True)
class StudyArguments:
    """What was asked for, by flags or by a file; equal ones are one run.

    No methods means all of them. `per_class` are the numbers of images that rows add; where there
    are none, `ratios` are those numbers as multiples of the mean class. `parameters` go to every
    method that has them. `images` says how those of each method are made, in order of `methods`;
    none is as usual. Methods with the same one of `selections`, in the same order, are candidates
    for one row. `added` are rows of images that are there. `overrides` are what was said
    instead of keys of `file`, which the other fields have, too. `subset_seeds` are as many as
    `seeds`, or none: the draws of the subset that each seed has.
    """

    source: str
    test: str
    pool: str | None
    subset: Subset
    methods: tuple[tuple[str, dict[str, str]], ...]
    strategies: tuple[str, ...]
    per_class: tuple[int, ...]
    seeds: tuple[int, ...]
    training: TrainingRecipe
    deterministic: bool
    check_safety: bool
    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ("",)
    classifiers: tuple[str, ...] = ("",)
    ratios: tuple[float, ...] = ()
    budget: str = "steps"
    display_names: dict[str, str] = field(default_factory=dict)
    refuse_leaks: bool = False
    reading: inputs.Reading = inputs.USUAL
    pool_names: dict[int, str] = field(default_factory=dict)
    expected: Expected | None = None
    file: str = ""
    overrides: tuple[str, ...] = ()
    test_sets: TestSets = ()
    images: tuple[ImageOptions, ...] = ()
    added: AddedRows = ()
    subset_seeds: tuple[int, ...] = ()
    selections: tuple[str, ...] = ()

    def places(self) -> list[str | None]:
        """The places of all images that are imported."""
        return [self.source, self.test, *(place for _, place in self.test_sets)]

    def images_of(self, number: int) -> ImageOptions:
        """How the images of the method with this number are made."""
        return self.images[number] if number < len(self.images) else USUAL

    def selection_of(self, number: int) -> str:
        """What the method with this number is a candidate for; empty for a row of its own."""
        return self.selections[number] if number < len(self.selections) else ""

    def added_places(self) -> list[Path]:
        """The folders of all rows of images that are there."""
        return [place for _, places in self.added for place in places]

    def run_id(self, models: Mapping[str, str], added: Sequence[str] = ()) -> str:
        """The id of the run with the models that the system has, by role.

        `added` are the manifests of the rows of images that are there, named by their content.
        """
        there = {"added": list(added)} if added else {}
        return inputs.run_id(self.name, {**self._content(), "models": dict(models), **there})

    def output_id(self) -> str:
        """What an output folder belongs to: a command."""
        return inputs.run_id(self.name, self._content())

    def _content(self) -> dict[str, object]:
        """All that decides over the result: not where the file lies that says it."""
        content = {n: value for n, value in vars(self).items() if n not in ("file", "overrides")}
        for newer in ("test_sets", "images", "added", "subset_seeds", "selections"):
            if not content[newer]:
                del content[newer]  # Who has none keeps the ids that there were.
        return content
