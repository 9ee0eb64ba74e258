"""--like FILE: the budget goes to the classes that a study or a training found weak.

Of --per-class N images times C classes, class c gets the share (1 - a_c) / sum(1 - a), where a_c is
its accuracy on real images alone, rounded by largest remainder: a class that is wrong twice as
often gets twice as many images, and one that is always right gets none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from gateway.cli.failures import CliError
from gateway.export.results import BASELINE
from gateway.mixes import apportioned

_REMEDY = "Give the results.json of `variegate study` or of `variegate train --out`."
_SHOWN = 10


@dataclass(frozen=True)
class Accuracies:
    """Accuracies on real images alone, by class, 0 to 1; None for a class without test images."""

    of_classes: Mapping[str, float | None] = field(default_factory=dict)

    def counts(self, class_names: Sequence[str], per_class: int) -> dict[str, int]:
        """Images of each class of `per_class` on the average.

        Raises CliError for classes whose accuracy is not known, by name, and if none is weak.
        """
        unknown = [name for name in class_names if self.of_classes.get(name) is None]
        if unknown:
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise CliError(
                f"--like: the file has no accuracy of {', '.join(map(repr, unknown[:_SHOWN]))}"
                f"{more}.",
                remedy="Test them (--test), or name the others with --classes.",
                reason="ACCURACY_MISSING",
            )
        wrong = [1 - Fraction(self.of_classes[name] or 0.0) for name in class_names]
        total = sum(wrong)
        if not total:
            raise CliError(
                "--like: no class is weak, all test images were recognised.",
                remedy="Use --per-class alone.",
                reason="NOTHING_WEAK",
            )
        counts = apportioned(per_class * len(wrong), [one / total for one in wrong])
        return dict(zip(class_names, counts, strict=True))


def read_accuracies(path: Path) -> Accuracies:
    """Reads them from the results of a study (its baseline), or of a training on real images.

    Raises CliError for any other file.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        found = _of(document)
        if not found or not all(a is None or 0 <= a <= 1 for a in found.values()):
            raise ValueError
    except OSError as error:
        why = error.strerror or str(error)
        raise CliError(
            f"--like {path} cannot be read: {why}.",
            exit_code=3,
            remedy=_REMEDY,
            reason="NO_RESULTS",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise CliError(
            f"--like {path} has no accuracies of classes trained on real images alone.",
            remedy=_REMEDY,
            reason="NO_RESULTS",
        ) from error
    return Accuracies(found)


def _of(document: Any) -> dict[str, float | None]:
    rows = document["rows"]
    of_study = next((row for row in rows if row.get("method") == BASELINE), None)
    if of_study is not None:
        return {one["class_name"]: one["accuracy"] for one in of_study["classes"]}
    of_training = next(row for row in rows if row["strategy"] in ("", "real"))
    return dict(of_training["class_accuracies"])
