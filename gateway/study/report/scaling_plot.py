"""The scaling curve: accuracy against the number of images added, a line for each method."""

import math
from dataclasses import dataclass
from html import escape

from gateway.export.results import BASELINE, REFERENCES, ResultRow, StudyResults
from gateway.study.report.accuracy_plot import axis_range
from gateway.study.report.words import count, error, percent

WIDTH, HEIGHT = 900, 420  # Units of the picture, which is as wide as the page.
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 200, 16, 54
# Lines of more methods than this are grey: colours are told apart no further.
COLOURS = 8


@dataclass(frozen=True)
class Point:
    """A row as a point of a line. `ratio` is added images to real ones."""

    added: int
    ratio: float
    row: ResultRow


def lines_of(results: StudyResults) -> dict[str, tuple[Point, ...]]:
    """Returns the rows that differ in how many images they add alone, where there are several."""
    lines: dict[str, list[Point]] = {}
    for row in results.rows:
        if row.method != BASELINE:
            ratio = row.added_image_count / max(1, row.real_image_count)
            lines.setdefault(_name(row), []).append(Point(row.added_image_count, ratio, row))
    curves = {
        name: tuple(sorted(points, key=lambda point: point.ratio))
        for name, points in lines.items()
        if len({point.added for point in points}) > 1
    }
    # Lines of references alone say nothing of a method.
    return curves if any(p[0].row.method not in REFERENCES for p in curves.values()) else {}


def scaling_plot(results: StudyResults) -> str:
    """SVG markup; "" where no method was run with several numbers of images."""
    lines = lines_of(results)
    if not lines:
        return ""
    place = _Axes(results, lines)
    parts = [
        f'<svg class="plot scaling" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" '
        'aria-labelledby="scaling-plot-title scaling-plot-text">',
        '<title id="scaling-plot-title">Accuracy against images added for each real one</title>',
        f'<desc id="scaling-plot-text">{escape(_description(lines))}</desc>',
        *_grid(place, lines),
        *_baseline(place, results),
    ]
    labels: list[float] = []
    order = sorted(lines.items(), key=lambda line: -line[1][-1].row.mean_accuracy)
    for at, (name, points) in enumerate(order):
        parts += _line(place, name, points, at, labels)
    return "\n".join([*parts, "</svg>"])


class _Axes:
    """Places ratios, on a scale of logarithms, and accuracies."""

    def __init__(self, results: StudyResults, lines: dict[str, tuple[Point, ...]]) -> None:
        self.low, self.high, self.step = axis_range(results)
        ratios = [point.ratio for points in lines.values() for point in points if point.ratio]
        self._first, self._last = math.log(min(ratios)), math.log(max(ratios))

    def x(self, ratio: float) -> float:
        span = max(self._last - self._first, 1e-9)
        share = (math.log(ratio) - self._first) / span if ratio else 0.0
        return round(_LEFT + 20 + share * (WIDTH - _LEFT - _RIGHT - 40), 1)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.low) / max(self.high - self.low, 1e-9)
        return round(HEIGHT - _BOTTOM - min(1, max(0, share)) * (HEIGHT - _TOP - _BOTTOM), 1)


def _grid(place: _Axes, lines: dict[str, tuple[Point, ...]]) -> list[str]:
    parts = []
    for tick in range(round((place.high - place.low) / place.step) + 1):
        value = place.low + tick * place.step
        y = place.y(value)
        text = f"{100 * value:.1f}".removesuffix(".0")
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text class="tick" x="{_LEFT - 22}" y="{y + 4}">{text}</text>'
        )
    free = 0.0
    ratios = {round(p.ratio, 4) for points in lines.values() for p in points}
    for ratio in sorted(ratios):
        if (x := place.x(ratio)) >= free:
            parts.append(f'<text class="tick" x="{x}" y="{HEIGHT - 32}">{ratio:.3g}</text>')
            free = x + 36
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [
        *parts,
        f'<text class="tick" x="{middle}" y="{HEIGHT - 8}">images added for each real one</text>',
    ]


def _baseline(place: _Axes, results: StudyResults) -> list[str]:
    """A line for each: every policy and classifier has its own."""
    found = []
    for row in results.rows:
        if row.method == BASELINE:
            y = place.y(row.mean_accuracy)
            found.append(
                f'<line class="baseline" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}">'
                f"<title>{escape(row.label)}: {percent(row.mean_accuracy)} %</title></line>"
            )
    return found


def _line(
    place: _Axes, name: str, points: tuple[Point, ...], at: int, labels: list[float]
) -> list[str]:
    """A line with bars of one standard error, and its name at its end, below those above it."""
    colour = f"c{at}" if at < COLOURS else "other"
    path = " ".join(f"{place.x(p.ratio)},{place.y(p.row.mean_accuracy)}" for p in points)
    parts = [f'<g class="curve {colour}">', f'<polyline points="{path}"/>']
    for point in points:
        x, row = place.x(point.ratio), point.row
        sigma = row.standard_error or 0.0
        top, bottom = place.y(row.mean_accuracy + sigma), place.y(row.mean_accuracy - sigma)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        parts.append(
            f'<circle cx="{x}" cy="{place.y(row.mean_accuracy)}" r="4">'
            f"<title>{escape(_words(name, point))}</title></circle>"
        )
    y = place.y(points[-1].row.mean_accuracy) + 4
    y = max(y, labels[-1] + 15) if labels else y
    labels.append(y)
    shown = name if len(name) <= 28 else name[:27] + "…"
    if y < HEIGHT - 4:
        parts.append(f'<text class="end" x="{WIDTH - _RIGHT + 8}" y="{y}">{escape(shown)}</text>')
    return [*parts, "</g>"]


def _name(row: ResultRow) -> str:
    extras = [] if row.strategy in ("", "combined", "real") else [row.strategy]
    extras += [part for part in (row.policy, row.classifier) if part]
    extras += [f"{name}={value}" for name, value in sorted(row.parameters.items())]
    extras += row.making
    return f"{row.method} ({', '.join(extras)})" if extras else row.method


def _words(name: str, point: Point) -> str:
    row = point.row
    return (
        f"{name}, {count(point.added)} images, {point.ratio:.3g} for each real one: "
        f"{percent(row.mean_accuracy)} ± {error(row.standard_error)} %"
    )


def _description(lines: dict[str, tuple[Point, ...]]) -> str:
    return ". ".join(_words(name, point) for name, points in lines.items() for point in points)
