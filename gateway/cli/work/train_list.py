"""The work of `variegate train --list`: what a run can name."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from gateway.cli.execute import CommandResult
from gateway.cli.session import Session
from gateway.cli.tables import table
from gateway.cli.training import recipes_of

if TYPE_CHECKING:
    from rich.console import Console

_KINDS = ("strategies", "policies", "classifiers")


async def run(session: Session) -> CommandResult:
    """Asks the trainer."""
    offered = await recipes_of(session)
    document: dict[str, Any] = {
        kind: [_document(one) for one in getattr(offered, kind)] for kind in _KINDS
    }
    return CommandResult(document, lambda console: _print(console, document))


def _document(recipe: Any) -> dict[str, Any]:
    document = {"id": recipe.id, "description": recipe.description, "source": recipe.source}
    return document | ({"mixes": True} if recipe.mixes else {})


def _print(console: "Console", document: dict[str, Any]) -> None:
    for kind, title in zip(_KINDS, ("strategy", "policy", "classifier"), strict=True):
        shown = table(title, "what it is", "from")
        for one in document[kind]:
            added = f" Can be added to another: randaugment+{one['id']}." if "mixes" in one else ""
            cells = (one["description"] + added, one["source"])
            shown.add_row(f"[bold]{escape(one['id'])}[/bold]", *(escape(cell) for cell in cells))
        console.print(shown)
