"""STUDY.md: what another person needs to repeat a study, and what came of it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version

from gateway.api.resources import Study
from gateway.export.results import ResultRow, StudyResults
from gateway.study.answers import answers
from gateway.study.report.image_table import HEADS, image_rows, image_words
from gateway.study.report.scaling_plot import lines_of
from gateway.study.report.words import (
    budget,
    chance,
    error,
    interval,
    percent,
    points,
    seconds,
    spread,
    steps_of,
)

_WORSE = 5  # Classes that are named in a row.


def summary_of(study: Study, results: StudyResults) -> str:
    """Returns the text of STUDY.md; equal studies and results give equal bytes."""
    parts = (
        _table,
        _answers,
        _lengths,
        _selections,
        _test_sets,
        _scaling,
        _images,
        _classes,
        _end,
    )
    lines = [line for part in parts for line in part(results)]
    return "\n".join([*_head(study, results), *lines])


def _head(study: Study, results: StudyResults) -> Iterator[str]:
    dataset = results.dataset
    kept = sum(dataset.validation_counts)
    yield f"# {results.study}\n"
    yield (
        f"{len(dataset.class_names):,} classes, {sum(dataset.train_counts):,} training and "
        f"{sum(dataset.test_counts):,} test images"
        f"{f', {kept:,} kept for validation' if kept else ''}; {len(results.rows)} rows, seeds "
        f"{', '.join(map(str, results.seeds))}.\n"
    )
    yield "## How to repeat it\n"
    yield f"- variegate {version('variegate')}"
    yield from _datasets(results)
    yield from (f"- {role}: `{value}`" for role, value in sorted(study.models.items()))
    yield from (f"- {name}: {value}" for name, value in sorted(results.machine.items()))
    yield (
        "\nThe same images, the same models (their digests are above) and the request below, to "
        "the gateway's CreateStudy, give the same rows; `variegate study` with the same file or "
        "flags sends it. `deterministic` says whether images are the same to the bit whatever the "
        "batching.\n"
    )
    request = json.dumps(asdict(replace(study, result=None)), indent=1, sort_keys=True)
    yield f"```json\n{request}\n```\n"


def _datasets(results: StudyResults) -> Iterator[str]:
    for one in results.subsets:
        yield (
            f"- data set of seed {one.seed} `{one.dataset}`, subset seed {one.subset_seed}, digest "
            f"`{one.digest}`"
        )
    if not results.subsets:
        yield f"- data set `{results.dataset.name}`, digest `{results.dataset.digest}`"


def _table(results: StudyResults) -> Iterator[str]:
    yield "## Results\n"
    yield (
        "| row | strategy | images added | seeds | accuracy % | gain, points | 95 % interval | "
        "p, Holm | seconds an image | seconds a point |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in results.rows:
        yield f"| {' | '.join(_cells(results, row))} |"
    yield (
        f"\n± is the standard error over the seeds. {spread(results)} Gains are paired by seed "
        "with the baseline of the same policy and classifier; the interval is Student's t; p is "
        f"corrected for the {len(results.methods)} rows that are methods. {budget(results)}\n"
    )


def _cells(results: StudyResults, row: ResultRow) -> list[str]:
    is_base = row is results.baseline_of(row)
    gain = f"{points(row.gain)} ± {error(row.gain_standard_error)}"
    costs = (row.seconds_per_image, row.seconds_per_point)
    return [
        row.label.replace("|", "\\|"),
        row.strategy or "real",
        f"{row.added_image_count:,}",
        str(len(row.accuracies)),
        f"{percent(row.mean_accuracy)} ± {error(row.standard_error)}",
        "" if is_base else gain,
        "" if is_base else interval(row.gain_interval),
        "" if row.is_reference else chance(row.p_holm),
        *("" if cost is None else seconds(cost) for cost in costs),
    ]


def _answers(results: StudyResults) -> Iterator[str]:
    if sentences := answers(results):
        yield "## What the figures say\n"
        yield from (f"- {text}" for text in sentences)
        yield ""


def _lengths(results: StudyResults) -> Iterator[str]:
    if lines := [(row.label, steps_of(row)) for row in results.rows if row.done_steps]:
        yield "## How long each was trained\n"
        yield from (f"- {label}: {text}" for label, text in lines)
        yield ""


def _selections(results: StudyResults) -> Iterator[str]:
    if results.selections:
        yield "## Selected on validation images\n"
        yield from (f"- {one.sentence.replace('|', chr(92) + '|')}" for one in results.selections)
        yield (
            "\nEach seed selects by itself. The seconds of a row are those of all its candidates.\n"
        )


def _test_sets(results: StudyResults) -> Iterator[str]:
    if names := results.test_sets:
        yield "## Further test sets\n"
        heads = [head for name in names for head in (f"{name} %", f"gain on {name}, points")]
        yield f"| row | {' | '.join(heads)} |"
        yield f"|{'---|' * (1 + len(heads))}"
        for row in results.rows:
            is_base = row is results.baseline_of(row)
            cells = [row.label.replace("|", "\\|")]
            for one in row.test_sets.values():
                gain = f"{points(one.gain)} ± {error(one.gain_standard_error)}"
                cells += [f"{percent(one.mean_accuracy)} ± {error(one.standard_error)}"]
                cells += ["" if is_base else gain]
            yield f"| {' | '.join(cells)} |"
        yield "\nThey are reported only: nothing was chosen by them.\n"


def _scaling(results: StudyResults) -> Iterator[str]:
    if lines := lines_of(results):
        yield "## Scaling: accuracy by images added for each real one\n"
        for name, points_ in lines.items():
            values = [
                f"{one.ratio:.3g}: {percent(one.row.mean_accuracy)} ± "
                f"{error(one.row.standard_error)} %"
                for one in points_
            ]
            yield f"- {name}: {', '.join(values)}"
        yield ""


def _images(results: StudyResults) -> Iterator[str]:
    if rows := image_rows(results):
        yield "## Diversity and fidelity of the images\n"
        yield f"| {' | '.join(HEADS)} |"
        yield f"|{'---|' * len(HEADS)}"
        for row in rows:
            cells = [cell.replace("|", "\\|") for cell in row]
            yield f"| {' | '.join(cells)} |"
        yield f"\n{image_words(results)}\n"


def _classes(results: StudyResults) -> Iterator[str]:
    yield "## Classes that got worse\n"
    for row in results.methods:
        gains = [(one.gain, one.class_name) for one in row.classes if one.gain is not None]
        worse = sorted((gain, name) for gain, name in gains if points(gain).startswith("−"))
        named = ", ".join(f"{name} {points(gain)}" for gain, name in worse[:_WORSE])
        more = f" and {len(worse) - _WORSE} more" if len(worse) > _WORSE else ""
        yield f"- {row.label}: {named + more if worse else 'none'}"
    yield ""


def _end(results: StudyResults) -> Iterator[str]:
    yield "## What failed or fell short\n"
    lines = [
        f"- {one.label}, seed {one.seed} ({one.stage}): {one.message}" for one in results.failures
    ]
    lines += [f"- {row.label}: {text}" for row in results.rows for text in row.shortfalls]
    yield from lines or ["Nothing."]
    told = {f"{one.label}, seed {one.seed} failed: {one.message}" for one in results.failures}
    if notes := [note for note in results.notes if note not in told]:
        yield "\n## Notes\n"
        yield from (f"- {note}" for note in notes)
    yield ""
