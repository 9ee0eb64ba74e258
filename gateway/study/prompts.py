"""The prompts of a row in figures, and what its class names were taken to mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.augment.recognition import lost_warning, together, worst_first
from gateway.export.statistics import mean
from gateway.study.records import AugmentationRecord

_SUMS = ("prompt_count", "failed_count", "repeated_count", "clip_cut_count", "fallback_count")
# Classes whose meaning is doubtful that a note names; the report's table has all.
_NAMED = 40
_MEANS = ("distinct_1", "distinct_2", "mean_distance")


def prompt_figures(augmentations: Sequence[AugmentationRecord]) -> dict[str, float]:
    """Returns sums of counts and means of shares over classes and seeds; empty without prompts.

    Rows with one prompt a class have no diversity to speak of and are left out.
    """
    all_ = [one for made in augmentations for one in made.prompts]
    if not any(one.prompt_count > 1 for one in all_):
        return {}
    sums = {name: sum(getattr(one, name) for one in all_) for name in _SUMS}
    means = {name: mean([getattr(one, name) for one in all_]) for name in _MEANS}
    return {**sums, **means}


def cut_prompts(augmentations: Sequence[AugmentationRecord]) -> dict[str, int]:
    """Returns how many different prompts of a row there were, and how many the text encoder cut;
    empty if none was cut."""
    lengths = [made.lengths for made in augmentations]
    cut = sum(one.cut_count for one in lengths)
    if not cut:
        return {}
    counts = {"prompt_count": sum(one.prompt_count for one in lengths), "cut_count": cut}
    return {**counts, "token_limit": max(one.token_limit for one in lengths)}


def shown_classes(augmentations: Sequence[AugmentationRecord]) -> tuple[Mapping[str, Any], ...]:
    """Returns how often CLIP finds each class among a row's images, the worst first."""
    found = worst_first(together([made.recognition for made in augmentations]))
    return tuple({**vars(one), "verdict": one.verdict} for one in found)


def remarks(label: str, augmentations: Sequence[AugmentationRecord]) -> list[str]:
    """Returns notes on classes that a row's images do not show, and on prompts that were cut."""
    lost = lost_warning(together([made.recognition for made in augmentations]))
    notes = [lost] if lost else []
    if cut := cut_prompts(augmentations):
        notes.append(
            f"{cut['cut_count']} of {cut['prompt_count']} prompts are longer than the "
            f"{cut['token_limit']} tokens that the text encoder reads; their ends are cut"
        )
    return [f"{label}: {note}." for note in notes]


def senses_of(augmentations: Sequence[AugmentationRecord]) -> tuple[Mapping[str, Any], ...]:
    """Returns the meaning of each class, once: it does not depend on the seed."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in (one for made in augmentations for one in made.prompts):
        if one.sense is not None and one.class_name not in found:
            found[one.class_name] = {
                "class_name": one.class_name,
                "sense": one.sense.sense.label,
                "definition": one.sense.sense.definition,
                "margin": one.sense.margin,
                "ambiguous": one.sense.ambiguous,
                "pinned": one.sense.pinned,
                "scores": dict(one.sense.scores),
            }
    return tuple(found.values())


def doubts(label: str, senses: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a note on the classes whose meaning the images did not decide."""
    unsure = [f"{one['class_name']} ({one['definition']})" for one in senses if one["ambiguous"]]
    if not unsure:
        return []
    shown = "; ".join(unsure[:_NAMED])
    shown += f" and {len(unsure) - _NAMED} other classes" if len(unsure) > _NAMED else ""
    return [
        f"{label}: the photographs do not tell for sure what is meant by {shown}. "
        "The commonest meaning was taken; pin another with the parameter senses, CLASS=SENSE."
    ]
