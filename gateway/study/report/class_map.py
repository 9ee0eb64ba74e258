"""The map of gains and losses per class: rows of the study by classes."""

from dataclasses import dataclass

from gateway.export.results import BASELINE, ORACLE, ClassGain, ResultRow, StudyResults
from gateway.export.statistics import beats
from gateway.study.report.words import error, points

NO_TEST_IMAGES = "no test images"
# Classes that are named as worse in a row; the map has all.
_NAMED = 40


@dataclass(frozen=True)
class Cell:
    """One class of one row. `weight` is the strength of its colour, 0 to 1.

    `error` is "" for a class without test images.
    """

    class_name: str
    text: str
    error: str
    weight: float
    kind: str  # "gain", "loss", "same" or "untested"
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
    """Gains against the baseline; a baseline itself has no row. Colours share one scale."""
    rows = [row for row in results.rows if row.method != BASELINE]
    gains = (gain.gain for row in rows for gain in row.classes)
    strongest = max((abs(gain) for gain in gains if gain is not None), default=0.0)
    scale = max(strongest, 0.01)
    names = tuple(gain.class_name for gain in results.baseline.classes)
    return ClassMap(
        names,
        tuple(_map_row(row, scale, row.method == ORACLE) for row in rows),
        points(scale)[1:],
    )


def _map_row(row: ResultRow, scale: float, is_oracle: bool) -> MapRow:
    cells = tuple(_cell(gain, scale) for gain in row.classes)
    return MapRow(row.label, is_oracle, cells, points(row.gain), _losses(row))


def _cell(one: ClassGain, scale: float) -> Cell:
    if one.gain is None:
        return Cell(one.class_name, NO_TEST_IMAGES, "", 0.0, "untested", sure=False)
    return Cell(
        class_name=one.class_name,
        text=points(one.gain),
        error=error(one.gain_standard_error),
        weight=round(abs(one.gain) / scale, 3),
        kind=_kind(one.gain),
        sure=beats(abs(one.gain), one.gain_standard_error),
    )


def _kind(gain: float) -> str:
    if points(gain) == "0.0":
        return "same"
    return "gain" if gain > 0 else "loss"


def _losses(row: ResultRow) -> str:
    """The classes that got worse, worst first; no more than people read."""
    known = [(one.gain, one.class_name) for one in row.classes if one.gain is not None]
    worse = sorted((gain, name) for gain, name in known if _kind(gain) == "loss")
    if not worse:
        return "no class got worse"
    named = ", ".join(f"{name} {points(gain)}" for gain, name in worse[:_NAMED])
    return f"{named} and {len(worse) - _NAMED} more" if len(worse) > _NAMED else named
