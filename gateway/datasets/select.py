"""Which good images become a dataset: no copies within a split, none across, the subset drawn."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from datafiles.rejected import RejectedFile
from gateway.datasets.inspect import Inspected
from gateway.datasets.protocols import Subset


@dataclass
class Selection:
    """What was kept, what was left out and what people should know. Filled step by step."""

    kept: list[Inspected] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def once_each(images: Iterable[Inspected], split: str) -> Selection:
    """Keeps the first of equal pictures, in order of class and path."""
    selection = Selection()
    first: dict[str, Inspected] = {}
    for image in sorted(images, key=lambda i: (i.entry.class_name, i.entry.path)):
        known = first.setdefault(image.pixel_sha256, image)
        if known is image:
            selection.kept.append(image)
            continue
        path, other = image.entry.path, known.entry.path
        same = known.entry.class_name == image.entry.class_name
        reason = "DUPLICATE" if same else "CONFLICTING_CLASS"
        selection.rejected.append(RejectedFile(path, reason, f"{path} is the picture {other}"))
    conflicts = [r for r in selection.rejected if r.reason == "CONFLICTING_CLASS"]
    if conflicts:
        selection.warnings.append(
            f"{len(conflicts)} pictures of the split {split!r} are in two classes, for example "
            f"{conflicts[0].message}; only the first is kept"
        )
    return selection


def without_leaks(train: Iterable[Inspected], test: Iterable[Inspected]) -> Selection:
    """Drops training images whose pixels are also a test image's."""
    tests = {image.pixel_sha256: image for image in test}
    selection = Selection()
    for image in train:
        twin = tests.get(image.pixel_sha256)
        if twin is None:
            selection.kept.append(image)
            continue
        path = image.entry.path
        message = f"{path} is also the test image {twin.entry.path}"
        selection.rejected.append(RejectedFile(path, "IN_TEST_SPLIT", message))
    if selection.rejected:
        selection.warnings.append(
            f"leak: {len(selection.rejected)} images are in both splits, for example "
            f"{selection.rejected[0].message}; the training copies are left out"
        )
    return selection


@dataclass(frozen=True)
class Drawn:
    """The declared subset: what is trained on, and what is kept for validation.

    `available` counts, by class, the images that it was drawn from.
    """

    train: list[Inspected]
    validation: list[Inspected]
    available: Mapping[str, int]

    @property
    def labelled(self) -> list[Inspected]:
        """All images of the subset."""
        return [*self.train, *self.validation]


def draw(images: Iterable[Inspected], subset: Subset) -> Drawn:
    """Draws the declared subset, class by class, from the front of the order of its seed.

    The last of what is drawn are kept for validation, so that the training images of a smaller draw
    are among those of a larger one. Raises InvalidArgument for a class that has too few.
    """
    by_class: dict[str, list[Inspected]] = defaultdict(list)
    for image in images:
        by_class[image.entry.class_name].append(image)
    available = {name: len(members) for name, members in sorted(by_class.items())}
    drawn = Drawn([], [], available)
    for name, count in subset.counts_of(available).items():
        members = sorted(by_class[name], key=lambda image: subset.place_of(image.sha256))
        train_count = count - subset.validation_of(count)
        drawn.train.extend(members[:train_count])
        drawn.validation.extend(members[train_count:count])
    return drawn


def assumptions(images: Iterable[Inspected]) -> list[str]:
    """Returns a sentence for each thing that was assumed to read images, with their number."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for image in images:
        for note in image.notes:
            first.setdefault(note, image.entry.path)
            counts[note] += 1
    found = [
        f"{count:,} {'image' if count == 1 else 'images'}: {note} (for example {first[note]})"
        for note, count in sorted(counts.items())
    ]
    scales = [note for note in counts if "samples read" in note]
    if len(scales) > 1:
        found.append(
            f"the images were read on {len(scales)} different scales, so equal values are not "
            "equally bright in all of them; save them with 8 bits a sample if that matters"
        )
    return found
