"""`variegate methods`: what can be made, and with which parameters."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import CommandResult, execute, settle
from gateway.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.session import Session


def methods(
    gateway: options.Gateway = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the augmentation methods and their parameters.

    $ variegate methods
    $ variegate augment ./my-images --method mvc --param coarse_steps=2
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway=gateway, json=json, debug=debug, tls=tls)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli.known import methods_of

        return _outcome(await methods_of(session))

    def look() -> CommandResult:
        from gateway.cli.root import own_methods

        return _outcome(own_methods())

    # Without --gateway the list needs no running system, so none is started for it.
    execute(common, work) if gateway else settle(common, look)


def _outcome(methods: list[Any]) -> CommandResult:
    found = [_document(method) for method in methods]
    return CommandResult({"methods": found}, lambda console: _print(console, found))


def _document(method: Any) -> dict[str, Any]:
    return {
        "id": method.id,
        "description": method.description,
        "source": method.source,
        "needs_pool": method.needs_pool,
        "parameters": [
            {"name": p.name, "default": p.default_value, "description": p.description}
            for p in method.parameters
        ],
    }


def _print(console: "Console", found: list[dict[str, Any]]) -> None:
    shown = table("method", "what it does", "from", "parameters (default)")
    for method in found:
        parameters = [f"{p['name']} ({p['default']})" for p in method["parameters"]]
        parameters += ["needs --pool"] if method["needs_pool"] else []
        cells = (method["description"], method["source"], "\n".join(parameters))
        shown.add_row(f"[bold]{method['id']}[/bold]", *(escape(cell) for cell in cells))
    console.print(shown)
