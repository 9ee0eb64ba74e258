"""The map of gains and losses per class: rows of the study by classes."""

from dataclasses import dataclass

from gateway.study.report.words import points
from gateway.study.results import ResultRow, StudyResults


@dataclass(frozen=True)
class Cell:
    """One class of one row. `weight` is the strength of its colour, 0 to 1."""

    class_name: str
    text: str
    error: str
    weight: float
    kind: str  # "gain", "loss" or "same"
    sure: bool


@dataclass(frozen=True)
class MapRow:
    """One row of the map, and the sentence on its losses."""

    label: str
    is_oracle: bool
    cells: tuple[Cell, ...]
    mean: str
    losses: str


@dataclass(frozen=True)
class ClassMap:
    """The map. `scale` is the change, in points, of the strongest colour."""

    class_names: tuple[str, ...]
    rows: tuple[MapRow, ...]
    scale: str


def class_map(results: StudyResults) -> ClassMap:
    """Gains against the baseline; the baseline itself has no row. Colours share one scale."""
    rows = [row for row in results.rows if row is not results.baseline]
    strongest = max((abs(gain.gain) for row in rows for gain in row.classes), default=0.0)
    scale = max(strongest, 0.01)
    names = tuple(gain.class_name for gain in results.baseline.classes)
    single = len(results.seeds) < 2
    return ClassMap(
        names,
        tuple(_map_row(row, scale, row is results.oracle, single) for row in rows),
        points(scale)[1:],
    )


def _map_row(row: ResultRow, scale: float, is_oracle: bool, single: bool) -> MapRow:
    cells = tuple(
        Cell(
            class_name=gain.class_name,
            text=points(gain.gain),
            error=points(gain.gain_standard_error).lstrip("+"),
            weight=round(abs(gain.gain) / scale, 3),
            kind=_kind(gain.gain),
            sure=not single and abs(gain.gain) > 2 * gain.gain_standard_error and gain.gain != 0,
        )
        for gain in row.classes
    )
    return MapRow(row.label, is_oracle, cells, points(row.gain), _losses(row))


def _kind(gain: float) -> str:
    if points(gain) == "0.0":
        return "same"
    return "gain" if gain > 0 else "loss"


def _losses(row: ResultRow) -> str:
    """The classes that got worse, worst first."""
    worse = sorted(
        (gain for gain in row.classes if _kind(gain.gain) == "loss"), key=lambda g: g.gain
    )
    if not worse:
        return "no class got worse"
    return ", ".join(f"{gain.class_name} {points(gain.gain)}" for gain in worse)
