"""How often CLIP finds a class among the images made of it and among its real ones.

An image shows the class whose text, of those of all classes, is nearest to it. Where that holds for
real images and not for those made, the generator does not know the class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

# A class is lost if it is found less often by this share, and by this many standard errors.
LEAST_LOSS, ERRORS = 0.15, 2.0
_TOLD = 10
VERDICTS = ("lost", "found", "unknown")


@dataclass(frozen=True)
class ClassRecognition:
    """Counts of one class of `class_count`: `found` of `count` images, real and made."""

    class_name: str
    real_count: int
    real_found: int
    made_count: int
    made_found: int
    class_count: int

    @property
    def loss(self) -> float:
        """By what share of the images the class is found less often among those made, -1 to 1."""
        return _share(self.real_found, self.real_count) - _share(self.made_found, self.made_count)

    @property
    def is_known(self) -> bool:
        """Says whether CLIP finds the class among real images more often than chance does."""
        share, variance = _smoothed(self.real_found, self.real_count)
        return share - 1 / self.class_count > ERRORS * variance**0.5

    @property
    def is_lost(self) -> bool:
        """Says whether the images made show the class far less often than the real ones do.

        The difference must exceed ERRORS standard errors (Agresti and Caffo's, which hold for few
        images, too) and LEAST_LOSS. Nothing is said of a class that CLIP does not know.
        """
        if not self.made_count or not self.is_known:
            return False
        real, real_variance = _smoothed(self.real_found, self.real_count)
        made, made_variance = _smoothed(self.made_found, self.made_count)
        error = (real_variance + made_variance) ** 0.5
        return self.loss > LEAST_LOSS and real - made > ERRORS * error

    @property
    def verdict(self) -> str:
        """Returns "lost", "unknown" (CLIP does not know it, the counts mean nothing) or "found"."""
        if not self.is_known:
            return "unknown"
        return "lost" if self.is_lost else "found"


def worst_first(classes: Sequence[ClassRecognition]) -> list[ClassRecognition]:
    """Returns the classes with the greatest loss first, and those that CLIP does not know last."""
    return sorted(classes, key=lambda one: (VERDICTS.index(one.verdict), -one.loss, one.class_name))


def together(
    parts: Sequence[Sequence[ClassRecognition]],
) -> tuple[ClassRecognition, ...]:
    """Returns the sums over several augmentations of the same classes, as of a study's seeds.

    The real images are the same in all of them, and count once.
    """
    sums: dict[str, ClassRecognition] = {}
    for one in (one for part in parts for one in part):
        if so_far := sums.get(one.class_name):
            one = replace(
                so_far,
                made_count=so_far.made_count + one.made_count,
                made_found=so_far.made_found + one.made_found,
            )
        sums[one.class_name] = one
    return tuple(sums.values())


def warnings_of(classes: Sequence[ClassRecognition]) -> list[str]:
    """Returns what people should know: classes that were lost, and those that CLIP cannot judge."""
    return [text for text in (lost_warning(classes), unknown_warning(classes)) if text]


def lost_warning(classes: Sequence[ClassRecognition]) -> str:
    """Returns which classes the images made show far less often than real ones; "" if none."""
    lost = [one for one in worst_first(classes) if one.verdict == "lost"]
    if not lost:
        return ""
    shown = "; ".join(
        f"{one.class_name}: {one.made_found} of {one.made_count} here, {one.real_found} of "
        f"{one.real_count} real"
        for one in lost[:_TOLD]
    )
    return (
        f"CLIP finds {len(lost)} of {len(classes)} classes far less often among these images "
        f"than among real ones ({shown}{_more(len(lost))}): they may not show what they should, so "
        "look at them before you train on them"
    )


def unknown_warning(classes: Sequence[ClassRecognition]) -> str:
    """Returns which classes CLIP does not find among real images either; "" if none."""
    unknown = [one.class_name for one in worst_first(classes) if one.verdict == "unknown"]
    if not unknown:
        return ""
    shown = ", ".join(unknown[:_TOLD])
    return (
        f"CLIP finds {len(unknown)} of {len(classes)} classes among their real images no more "
        f"often than by chance ({shown}{_more(len(unknown))}): it cannot say whether the images "
        "made show them"
    )


def _more(count: int) -> str:
    return f" and {count - _TOLD} more" if count > _TOLD else ""


def _share(found: int, count: int) -> float:
    return found / count if count else 0.0


def _smoothed(found: int, count: int) -> tuple[float, float]:
    """Returns the share with one success and one failure added, and its variance."""
    share = (found + 1) / (count + 2)
    return share, share * (1 - share) / (count + 2)
