"""How the images of a study's rows are made, besides method and parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.cli.test_sets import NAME, NAME_RULE


@dataclass(frozen=True)
class ImageOptions:
    """What --guidance, --negative-prompt, --make, --keep, --fill-to and --like say of `augment`.

    `accuracies` are those of --like by class: of weak classes more images are made. With `fill_to`
    each class gets what it lacks of that number.
    """

    negative_prompt: str = ""
    make: float = 0.0
    keep: str = ""
    accuracies: tuple[tuple[str, float | None], ...] = ()
    guidance: float | None = None
    fill_to: int = 0

    def fields(self, classes: Mapping[str, int], per_class: int) -> dict[str, Any]:
        """Those of the message of a row that adds `per_class` images on the average.

        `classes` are the real images of each. Raises CliError for a class whose accuracy is not
        known.
        """
        from gateway.cli.weakness import Accuracies

        known = Accuracies(dict(self.accuracies))
        counts = known.counts(list(classes), per_class) if self.accuracies else {}
        if self.fill_to:
            counts = {name: max(0, self.fill_to - count) for name, count in classes.items()}
        return {
            "negative_prompt": self.negative_prompt,
            "make_factor": self.make,
            "keep": self.keep,
            "class_counts": counts,
            "guidance_scale": self.guidance,
        }


USUAL = ImageOptions()
# The keys of a study file that lead to them.
KEYS = (*(one.name for one in fields(ImageOptions) if one.name != "accuracies"), "like")

# What a row of images that are there is called, and their folders.
AddedRows = tuple[tuple[str, tuple[Path, ...]], ...]


def added_rows(texts: Sequence[str]) -> AddedRows:
    """The rows of --synthetic NAME=DIR; folders of one name are one row. Raises CliError."""
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, _, place = text.partition("=")
        if not place or not NAME.fullmatch(name):
            raise CliError(
                f"--synthetic {text} does not say what the row of these images is called.",
                remedy=f"Give --synthetic NAME=DIR; a name is {NAME_RULE}.",
            )
        found.setdefault(name, []).append(Path(place).expanduser())
    return as_rows(found)


def as_rows(found: Mapping[str, Sequence[Path]]) -> AddedRows:
    """Those rows, of folders by name."""
    return tuple((name, tuple(dict.fromkeys(places))) for name, places in found.items())
