"""Tables for the terminal in one style: names are wrapped where room is short, figures never."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from servicekit.escaping import escaped

# Cells that names keep before the heads of figures are wrapped, and that single words of them keep.
_ROOMY, _WORD = 24, 28
# Between two columns.
_GAP = 2


@dataclass(frozen=True)
class _Column:
    """A column: what it holds, and the cells (of a terminal) that it wants and needs."""

    head: str
    is_figure: bool
    texts: Sequence[Text]

    @cached_property
    def widest(self) -> int:
        """Of its texts, without the head."""
        return max((_width(text) for text in self.texts), default=0)

    @cached_property
    def wanted(self) -> int:
        """With the head in one line."""
        return max(self.widest, _width(Text(self.head)))

    @cached_property
    def needed(self) -> int:
        """With the words of head and names below one another, and no figure wrapped."""
        words = [word for text in self.texts for word in text.plain.split()]
        longest = self.widest if self.is_figure else min(_longest(words), _WORD)
        return max(longest, _longest(self.head.split()))


class Grid:
    """A table that is as wide as its terminal at most.

    Where room is short names are wrapped and heads of figures, and what still does not fit stands
    in a further table below, beside the names. It shows what a terminal would obey.
    """

    def __init__(self, heads: Sequence[str], title: str, figures: Sequence[str]) -> None:
        self._heads, self._title, self._figures = heads, title, figures
        self._rows: list[tuple[tuple[str, ...], str]] = []

    def add_row(self, *cells: str, style: str = "") -> None:
        """Adds a row of texts with markup."""
        self._rows.append((tuple(escaped(cell, lines=True) for cell in cells), style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [
            _Column(
                head,
                head in self._figures,
                [console.render_str(cells[at]) for cells, _ in self._rows],
            )
            for at, head in enumerate(self._heads)
        ]
        title = self._title
        for part in _parts(columns, options.max_width):
            yield self._drawn(part, _widths(part, options.max_width), title)
            title = ""

    def _drawn(self, columns: Sequence[_Column], widths: Sequence[int], title: str) -> Table:
        made = Table(
            box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False,
            show_edge=False, padding=(0, _GAP - 1, 0, 0),
        )  # fmt: skip
        for column, width in zip(columns, widths, strict=True):
            justify = "right" if column.is_figure else "left"
            made.add_column(column.head, justify=justify, overflow="fold", width=width)  # type: ignore[arg-type]
        for at, (_, style) in enumerate(self._rows):
            made.add_row(*(column.texts[at] for column in columns), style=style)
        return made


def _longest(words: Sequence[str]) -> int:
    return max((cell_len(word) for word in words), default=0)


def _width(text: Text) -> int:
    return max(map(cell_len, text.plain.splitlines()), default=0)


def _parts(columns: Sequence[_Column], room: int) -> Iterator[list[_Column]]:
    """Yields the columns table by table, the first, which names the rows, in each."""
    part = [*columns[:1]]
    for column in columns[1:]:
        if len(part) > 1 and _sum([one.needed for one in (*part, column)]) > room:
            yield part
            part = [columns[0]]
        part.append(column)
    yield part


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """The cells of each column: those of names are taken first, the widest of them first."""
    widths = [one.wanted if one.is_figure else min(one.wanted, room) for one in columns]
    names = [at for at, one in enumerate(columns) if not one.is_figure]
    figures = [at for at, one in enumerate(columns) if one.is_figure]

    def shrink(places: Sequence[int], least: Callable[[int], int]) -> None:
        while _sum(widths) > room:
            free = [at for at in places if widths[at] > least(at)]
            if not free:
                return
            widths[max(free, key=lambda at: widths[at])] -= 1

    shrink(names, lambda at: max(columns[at].needed, _ROOMY))
    shrink(figures, lambda at: columns[at].needed)
    shrink(names, lambda at: columns[at].needed)
    shrink(names, lambda _: 1)
    return widths


def _sum(widths: Sequence[int]) -> int:
    """With what is between the columns."""
    return sum(widths) + _GAP * (len(widths) - 1)


def table(*columns: str, title: str = "", right: tuple[str, ...] = ()) -> Grid:
    """An empty table; columns in `right` are figures, which are aligned and never wrapped."""
    return Grid(columns, title, right)


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
