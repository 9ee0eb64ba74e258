"""The terminal that everything is printed on."""

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console that prints names as they are: `:b:` in an address or a path is no emoji."""
    return Console(stderr=stderr, emoji=False, highlight=False)
