"""Numbers and sentences of the report, as people read them."""

from gateway.export.results import ResultRow, StudyResults
from gateway.export.statistics import Comparison

MINUS = "−"

# What the filters' reasons mean; others are shown in lower case.
REASONS = {
    "NEAR_DUPLICATE": "too like a photograph of the dataset",
    "EXACT_DUPLICATE": "the same as a photograph of the dataset",
    "REPEATED": "repeats an accepted image",
    "UNSAFE": "unsafe content",
    "LOW_CLIP_SCORE": "does not look like its class",
    "FAILED": "could not be made",
    "UNREADABLE": "could not be read",
}


def percent(share: float) -> str:
    """0.4187 -> "41.9"."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """0.0123 -> "+1.2", with a true minus sign; zero has no sign."""
    text = f"{100 * share:+.1f}".replace("-", MINUS)
    return "0.0" if text.lstrip("+" + MINUS) == "0.0" else text


def error(share: float | None) -> str:
    """0.0061 -> "0.6"; None, the error of a single seed, -> "n/a"."""
    return "n/a" if share is None else f"{100 * share:.1f}"


def interval(ends: tuple[float, float] | None) -> str:
    """(-0.0042, 0.031) -> "−0.4 to +3.1"; None, that of a single seed, -> "n/a"."""
    return "n/a" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def chance(p: float | None) -> str:
    """0.0312 -> "0.031"; what is smaller than 0.001 -> "< 0.001"; None -> "n/a"."""
    if p is None:
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict(row: Comparison | ResultRow) -> str:
    """What two standard errors say of a row's gain, in a word."""
    if row.gain_standard_error is None:
        return "n/a"
    return "better" if row.beats_baseline else "worse" if row.loses_to_baseline else "unsure"


def seconds(value: float) -> str:
    """75.2 -> "1 min 15 s"."""
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def fine_seconds(value: float) -> str:
    """0.0312 -> "0.031 s"; from 1 s on as `seconds`."""
    return f"{value:.3f} s" if value < 1 else seconds(value)


def count(value: float) -> str:
    """12000 -> "12,000"."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """(1, "seed") -> "1 seed"; (3, "class") -> "3 classes"."""
    if value == 1:
        return f"1 {noun}"
    return f"{value:,} {noun}{'es' if noun.endswith(('s', 'ch', 'sh', 'x')) else 's'}"


def reason(name: str) -> str:
    """For people: "REPEATED" -> "repeats an accepted image"."""
    return REASONS.get(name, name.replace("_", " ").lower())


def headline(results: StudyResults) -> str:
    """The finding in one sentence, never more than the numbers carry."""
    best = results.best
    if best is None:
        return f"Real images alone reach {percent(results.baseline.mean_accuracy)} %."
    if best.beats_baseline:
        return f"Images by {best.label} lift accuracy by {points(best.gain)[1:]} points."
    if best.loses_to_baseline:
        return "Every method is worse than the real images alone."
    if best.gain <= 0:
        return "No method beat the real images alone."
    return f"{best.label} gained {points(best.gain)[1:]} points, too little to be sure."


def lead(results: StudyResults) -> str:
    """The sentence below the headline: from what to what, and how sure."""
    best = results.best
    if best is None:
        return "No method was compared."
    base = results.baseline_of(best)
    moved = (
        f"From {_accuracy(base)} with real images alone to {_accuracy(best)} with "
        f"{plural(best.added_image_count, 'added image')}; gain "
        f"{points(best.gain)} ± {error(best.gain_standard_error)} points over "
        f"{plural(len(results.seeds), 'paired seed')}."
    )
    if len(results.seeds) < 2:
        return moved + " One seed says nothing about chance: no row can claim a gain."
    if best.loses_to_baseline:
        return moved + " That is worse by more than two standard errors."
    sure = "more" if best.beats_baseline else "not more"
    return moved + f" That is {sure} than two standard errors."


def _accuracy(row: ResultRow) -> str:
    return f"{percent(row.mean_accuracy)} %"


def facts(results: StudyResults) -> list[tuple[str, str]]:
    """The study in numbers: (number, what it counts)."""
    dataset = results.dataset
    fewer = " at most" if any(row.images_per_class for row in results.rows) else ""
    return [
        (count(sum(dataset.train_counts)), "training photographs"),
        (str(len(dataset.class_names)), "classes"),
        (count(results.images_per_class), f"images added per class{fewer}"),
        (count(sum(dataset.test_counts)), "test photographs"),
        (str(len(results.seeds)), "seeds"),
    ]


def budget(results: StudyResults) -> str:
    """How long the rows were trained, for under the table."""
    training = results.training
    best = (
        " Tested are the weights with the best accuracy on the validation images."
        if training.get("choose") == "best"
        else ""
    )
    if schedule := training.get("schedule"):
        return (
            f"With the schedule {schedule} validation images decide when each training ends, so "
            f"rows take different numbers of steps.{best}"
        )
    if results.counts_passes:
        same = (
            "Rows with more images take more steps; `matched` takes as many on real images alone."
        )
    else:
        same = "All rows take equally many steps, so the baseline sees as many images as each does."
    return same + best


def steps_of(row: ResultRow) -> str:
    """The steps of a row's trainings, seed by seed, and those whose weights were tested."""
    text = f"{', '.join(map(count, row.done_steps))} steps"
    if row.chosen_steps != row.done_steps:
        text += f", tested after {', '.join(map(count, row.chosen_steps))}"
    return text


def spread(results: StudyResults) -> str:
    """What the errors contain, for under the table; all of it varies from seed to seed."""
    if results.subsets:
        return (
            "Each seed draws its own subset of the real images, makes its own images and trains "
            "its own classifiers, so the errors contain the choice of real images as well. All "
            "rows of a seed have the same subset: paired gains compare rows on the same images."
        )
    return (
        "All seeds have the same real images; each makes its own images and trains its own "
        "classifiers, so the errors contain these two and not the choice of real images."
    )
