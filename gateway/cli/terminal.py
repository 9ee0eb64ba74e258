"""The consoles that everything is printed on."""

from collections.abc import Iterable

from rich.console import Console
from rich.segment import Segment

from servicekit.escaping import escaped


class SafeConsole(Console):
    """A console on which names of files and classes do nothing to the terminal.

    Whatever is printed, in a sentence, a table or a bar, passes here last: what a terminal obeys is
    spelled out. Styles and cursor movements are rich's own and stay.
    """

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else segment._replace(text=escaped(segment.text, lines=True))
            for segment in buffer
        )


def console(*, stderr: bool = False) -> Console:
    """A console that prints names as they are: `:b:` in an address or a path is no emoji."""
    return SafeConsole(stderr=stderr, emoji=False, highlight=False)
