"""Tables for the terminal in one style."""

from typing import Any

from rich import box
from rich.console import JustifyMethod, RenderableType
from rich.table import Table

from servicekit.escaping import escaped


class _Table(Table):
    """A table that shows what a terminal would obey."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        shown = [escaped(c, lines=True) if isinstance(c, str) else c for c in cells]
        super().add_row(*shown, **options)


def table(
    *columns: str, title: str = "", right: tuple[str, ...] = (), whole: tuple[str, ...] = ()
) -> Table:
    """An empty table; columns in `right` are aligned to the right, those in `whole` not folded."""
    made = _Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    return made


def percent(share: float) -> str:
    """0.4187 -> "41.9"."""
    return f"{100 * share:.1f}"


def plus_minus(share: float, error: float | None, *, sign: bool = False) -> str:
    """(0.4187, 0.006) -> "41.9 ± 0.6"; (0.4187, None) -> "41.9 ± n/a", as of a single seed."""
    shown = "n/a" if error is None else f"{100 * error:.1f}"
    return f"{100 * share:{'+' if sign else ''}.1f} ± {shown}"


def interval(ends: tuple[float, float] | None) -> str:
    """(-0.0042, 0.031) -> "-0.4 to +3.1", in points; None, as of a single seed, -> "n/a"."""
    return "n/a" if ends is None else f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}"


def chance(p: float | None) -> str:
    """0.0312 -> "0.031"; below 0.001 -> "<0.001"; None, as of a single seed, -> "n/a"."""
    if p is None:
        return "n/a"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict(beats: bool, loses: bool, error: float | None) -> str:
    """What two standard errors say of a gain, in a word."""
    if error is None:
        return "n/a"
    return "better" if beats else "worse" if loses else "unsure"
