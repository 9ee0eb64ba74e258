"""The accuracy plot: one band per row, a dot per seed, bars of one and two standard errors."""

import math
from html import escape

from gateway.export.results import BASELINE, ORACLE, ResultRow, StudyResults
from gateway.study.report.words import error, percent, points

BAND = 58  # pixels per row
TOP = 8
AXIS = 34


def accuracy_plot(results: StudyResults) -> str:
    """SVG markup. Places across are in percent of the width, so text keeps its size on a phone."""
    rows = results.rows
    low, high, step = axis_range(results)
    height = TOP + BAND * len(rows) + AXIS
    place = _Axis(low, high)
    parts = [
        f'<svg class="plot" role="img" width="100%" height="{height}" '
        'aria-labelledby="plot-title plot-text">',
        '<title id="plot-title">Test accuracy of every row</title>',
        f'<desc id="plot-text">{escape(_description(results))}</desc>',
        *_grid(place, low, high, step, height),
    ]
    for at, row in enumerate(rows):
        # Those of rows with the same baseline join into one line.
        parts += _baseline(place, results.baseline_of(row).mean_accuracy, at)
        parts += _band(place, row, TOP + BAND * at, single=len(results.seeds) < 2)
    return "\n".join([*parts, "</svg>"])


def axis_range(results: StudyResults) -> tuple[float, float, float]:
    """Lowest and highest accuracy of the axis, and the step of its grid: round numbers."""
    values = [value for row in results.rows for value in row.accuracies]
    for row in results.rows:
        values += [row.mean_accuracy - 2 * (row.standard_error or 0.0)]
        values += [row.mean_accuracy + 2 * (row.standard_error or 0.0)]
    low, high = max(0.0, min(values)), min(1.0, max(values))
    spread = max(high - low, 0.01)
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if spread / s <= 7)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


class _Axis:
    """Places accuracies between 2 % and 98 % of the width."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._span = max(high - low, 1e-9)

    def __call__(self, accuracy: float) -> str:
        share = min(1.0, max(0.0, (accuracy - self._low) / self._span))
        return f"{2 + 96 * share:.2f}%"


def _grid(place: _Axis, low: float, high: float, step: float, height: int) -> list[str]:
    lines = []
    for tick in range(round((high - low) / step) + 1):
        value = low + tick * step
        x = place(value)
        text = f"{100 * value:.1f}".removesuffix(".0")
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height - AXIS}"/>')
        lines.append(f'<text class="tick" x="{x}" y="{height - 12}">{text}</text>')
    return lines


def _baseline(place: _Axis, mean: float, at: int) -> list[str]:
    """The piece of the baseline that a row is compared with."""
    x, top = place(mean), TOP + BAND * at
    return [f'<line class="baseline" x1="{x}" x2="{x}" y1="{top if at else 0}" y2="{top + BAND}"/>']


def _band(place: _Axis, row: ResultRow, top: int, *, single: bool) -> list[str]:
    """One row: its name above, its dots and bars below."""
    kind = {BASELINE: "is-baseline", ORACLE: "is-oracle"}.get(row.method, "is-method")
    if row.beats_baseline and kind == "is-method":
        kind += " beats"
    y = top + 38
    mean, sigma = row.mean_accuracy, row.standard_error or 0.0
    value = f"{percent(mean)}" + ("" if single else f" ± {error(row.standard_error)}")
    if row.method != BASELINE:
        value += f"   ({points(row.gain)})"
    parts = [
        f'<g class="band {kind}">',
        f'<text class="name" x="0" y="{top + 17}">{escape(row.label)}</text>',
        f'<text class="value" x="100%" y="{top + 17}">{value}</text>',
        f'<line class="two" x1="{place(mean - 2 * sigma)}" x2="{place(mean + 2 * sigma)}" '
        f'y1="{y}" y2="{y}"/>',
        f'<line class="one" x1="{place(mean - sigma)}" x2="{place(mean + sigma)}" '
        f'y1="{y}" y2="{y}"/>',
    ]
    parts += [
        f'<circle class="seed" cx="{place(accuracy)}" cy="{y}" r="3.6">'
        f"<title>{percent(accuracy)} %</title></circle>"
        for accuracy in row.accuracies
    ]
    return [*parts, _mark(row, place(mean), y), "</g>"]


def _mark(row: ResultRow, x: str, y: int) -> str:
    """The mean: a disc, or for the oracle a hollow diamond, so that colour is never alone."""
    if row.method != ORACLE:
        return f'<circle class="mean" cx="{x}" cy="{y}" r="7"/>'
    return (
        f'<svg x="{x}" y="{y}" overflow="visible">'
        '<rect class="mean" x="-6.5" y="-6.5" width="13" height="13" transform="rotate(45)"/></svg>'
    )


def _description(results: StudyResults) -> str:
    rows = [
        f"{row.label}: {percent(row.mean_accuracy)} percent, standard error "
        f"{error(row.standard_error)}"
        for row in results.rows
    ]
    return ". ".join(rows) + "."
