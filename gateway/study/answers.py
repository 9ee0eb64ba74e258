"""What a study's figures say in words: every sentence is reckoned from its rows.

Two rows are compared like a row with the baseline: paired by seed, with Student's interval. The
p-values of all comparisons of one kind of question are corrected together (Holm).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.export.results import MATCHED, ResultRow, StudyResults
from gateway.export.statistics import Comparison, compare, holm
from gateway.study.report.words import MINUS, chance, error, interval, points, seconds

CERTAIN = 0.05
_MOST = 8  # Comparisons of a question and classes that are named.


@dataclass(frozen=True)
class Question:
    """What is asked of pairs of rows, and which pairs: `pairs` of the first and second row."""

    text: str
    pairs: Callable[[StudyResults], Iterator[tuple[ResultRow, ResultRow]]]


def answers(results: StudyResults) -> list[str]:
    """Returns the sentences, of what the study has the rows for."""
    return [*_baseline(results), *_questions(results), *_costs(results), *_classes(results)]


def _baseline(results: StudyResults) -> Iterator[str]:
    if not results.methods:
        return
    known = [row for row in results.methods if row.p_holm is not None]
    if not known:
        yield "Which rows beat the baseline? One seed says nothing about chance."
        return
    sure = [row for row in known if (row.p_holm or 0.0) < CERTAIN]
    better = [row for row in sure if row.gain > 0]
    worse = [row for row in sure if row.gain < 0]
    open_ = [row for row in known if row not in better and row not in worse]
    for asked, rows in (
        ("Which rows beat the baseline (p after Holm's correction below 0.05)?", better),
        ("Which are worse than it?", worse),
        ("Of which is neither shown?", open_),
    ):
        yield f"{asked} {_named(rows)}"


def _named(rows: Sequence[ResultRow]) -> str:
    if not rows:
        return "None."
    ordered = sorted(rows, key=lambda row: -row.gain)
    each = [f"{row.label} ({points(row.gain)}, p {chance(row.p_holm)})" for row in ordered]
    return f"{', '.join(each)}."


def _questions(results: StudyResults) -> Iterator[str]:
    for question in QUESTIONS:
        pairs = list(question.pairs(results))
        found = [(first, second, _compared(first, second)) for first, second in pairs]
        said = [one for one in found if one[2] is not None]
        p_values = holm([one.p_value if one else None for _, _, one in said])
        each = [
            f"{first.label} against {second.label}: {_difference(one, p)}"
            for (first, second, one), p in zip(said, p_values, strict=True)
            if one is not None
        ]
        if each:
            more = f"; and {len(each) - _MOST} more pairs" if len(each) > _MOST else ""
            yield f"{question.text} {'; '.join(each[:_MOST])}{more}."


def _compared(first: ResultRow, second: ResultRow) -> Comparison | None:
    """The first row against the second over the seeds that both have; None without any."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    if not seeds:
        return None
    of_row = [
        [dict(zip(row.seeds, row.accuracies, strict=True))[seed] for seed in seeds]
        for row in (first, second)
    ]
    return compare(*of_row)


def _difference(one: Comparison, p: float | None) -> str:
    text = f"{points(one.gain)} ± {error(one.gain_standard_error)} points"
    if p is None:
        return f"{text}, of one seed, which says nothing about chance"
    shown = "" if p < CERTAIN else ", not shown"
    return f"{text}, {interval(one.gain_interval)}, p {chance(p)}{shown}"


def _costs(results: StudyResults) -> Iterator[str]:
    priced = [row for row in results.methods if row.seconds_per_point is not None]
    if not priced:
        return
    each = [
        f"{row.label} {seconds(row.seconds_per_point or 0.0)}"
        for row in sorted(priced, key=lambda row: row.seconds_per_point or 0.0)
    ]
    more = f" and {len(each) - _MOST} more rows" if len(each) > _MOST else ""
    yield f"What does a point gained cost, in time to make images? {', '.join(each[:_MOST])}{more}."


def _classes(results: StudyResults) -> Iterator[str]:
    lost: Counter[str] = Counter()
    most: dict[str, float] = {}
    for row in results.methods:
        for one in row.classes:
            if one.gain is not None and points(one.gain).startswith(MINUS):
                lost[one.class_name] += 1
                most[one.class_name] = min(one.gain, most.get(one.class_name, 0.0))
    if not results.methods:
        return
    count = len(results.methods)
    each = [
        f"{name} in {number} of {count} rows (at most {points(most[name])})"
        for name, number in sorted(lost.items(), key=lambda one: (-one[1], most[one[0]]))
    ]
    more = f" and {len(each) - _MOST} more" if len(each) > _MOST else ""
    said = f"{', '.join(each[:_MOST])}{more}" if each else "None"
    yield f"Which classes get worse? {said}."


def _methods(first: str, *others: str) -> Callable[..., Iterator[tuple[ResultRow, ResultRow]]]:
    """Pairs of rows that differ in the method alone."""

    def pairs(results: StudyResults) -> Iterator[tuple[ResultRow, ResultRow]]:
        rows = {(row.method, *_but_method(row)): row for row in results.methods}
        for row in results.methods:
            for other in others if row.method == first else ():
                if found := rows.get((other, *_but_method(row))):
                    yield row, found

    return pairs


def _but_method(row: ResultRow) -> tuple[object, ...]:
    return (*_but_strategy(row), row.strategy, row.making)


def _but_strategy(row: ResultRow) -> tuple[object, ...]:
    return row.policy, row.classifier, row.images_per_class


def _retrieval(results: StudyResults) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Retrieval and the best row of generated images with the same training."""
    for row in results.methods:
        if row.method == "retrieval":
            others = [
                one
                for one in results.methods
                if one.method != "retrieval" and _but_method(one) == _but_method(row)
            ]
            if others:
                yield row, max(others, key=lambda one: one.mean_accuracy)


def _longer(results: StudyResults) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Rows that train for more steps than the baseline, and real images alone for as many."""
    rows = {
        (*_but_strategy(row), _steps(row)): row for row in results.rows if row.method == MATCHED
    }
    for row in results.methods:
        if found := rows.get((*_but_strategy(row), _steps(row))):
            yield row, found


def _steps(row: ResultRow) -> object:
    return row.training.get("step_count")


def _strategies(results: StudyResults) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Rows of the same images by another strategy than combined, and by that."""
    rows = {_images(row): row for row in results.methods if row.strategy == "combined"}
    for row in results.methods:
        if row.strategy != "combined" and (found := rows.get(_images(row))):
            yield row, found


def _images(row: ResultRow) -> tuple[object, ...]:
    return (row.method, tuple(sorted(row.parameters.items())), row.making, *_but_strategy(row))


def _amounts(results: StudyResults) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Rows that differ in the number of images alone: each with the next smaller one."""
    series: dict[tuple[object, ...], list[ResultRow]] = {}
    for row in results.methods:
        series.setdefault((*_images(row)[:-1], row.strategy), []).append(row)
    for rows in series.values():
        ordered = sorted(rows, key=lambda row: row.added_image_count)
        for less, more in pairwise(ordered):
            if more.added_image_count > less.added_image_count:
                yield more, less


# A row for each question: what is asked, and which rows answer it.
QUESTIONS = (
    Question("What do the images add to training as long without them?", _longer),
    Question("Does retrieval beat the best generated images?", _retrieval),
    Question("Does mixing captions beat captions as they are?", _methods("mvc", "captions")),
    Question("Does mixing captions beat prompts?", _methods("mvc", "simple", "clip_templates")),
    Question("Does tuning the generator add to mixing?", _methods("mvc+tuned", "mvc")),
    Question("What does dropout on embeddings add?", _methods("cond_dropout", "cond_image")),
    Question("What does cutting embeddings add?", _methods("cond_embed_cutmix", "cond_image")),
    Question("What do other strategies add to combined?", _strategies),
    Question("How far do more images help?", _amounts),
)
