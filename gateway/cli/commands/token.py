"""`variegate token`: makes a token for a principal of a gateway."""

from datetime import date
from typing import Annotated

import typer

from gateway.cli import options
from gateway.cli.execute import CommandResult, settle
from gateway.cli.failures import CliError

SCOPES = ("read", "create", "admin")
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Who has the token: a person, or a program.")
]
ScopeOption = Annotated[
    str,
    typer.Option(
        "--scope",
        metavar="|".join(SCOPES),
        help="read looks at what its owner has; create also makes and cancels; admin reaches what "
        "everybody has.",
    ),
]
Owner = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Whom things belong to that are made with the token, such as a team; all tokens of an "
        "owner reach the same things.",
        show_default="NAME itself",
    ),
]
Expires = Annotated[
    str, typer.Option(metavar="YYYY-MM-DD", help="From when on it no longer counts.")
]


def token(
    name: Name,
    scope: ScopeOption = "create",
    owner: Owner = "",
    expires: Expires = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make a token for a gateway that asks its callers who they are.

    Nothing is stored: give the token to its holder (VARIEGATE_TOKEN), and add the line, which holds
    only its hash, to the file that GATEWAY_AUTH_TOKENS names. A running gateway reads it at once.

    $ variegate token alice --scope create --owner vision-team --expires 2027-12-31
    """
    common = options.Common(json=json, debug=debug)
    settle(common, lambda: _made(name, scope, owner, expires))


def _made(name: str, scope: str, owner: str, expires: str) -> CommandResult:
    from servicekit.tokens import hash_of, new_token

    _check(name, scope, owner, expires)
    made = new_token()
    words = [name, scope, hash_of(made)]
    words += [f"owner={owner}"] if owner else []
    words += [f"expires={expires}"] if expires else []
    line = " ".join(words)
    text = f"token, for {name} alone:\n{made}\n\nfor the file of GATEWAY_AUTH_TOKENS:\n{line}"
    return CommandResult(
        {"token": made, "line": line},
        lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True),
    )


def _check(name: str, scope: str, owner: str, expires: str) -> None:
    for text in (name, owner):
        if text != "".join(text.split()) or "#" in text:
            raise CliError(
                f"{text!r} cannot be a name: it has a space or a #.",
                exit_code=2,
                remedy="Leave them out.",
            )
    if scope not in SCOPES:
        raise CliError(
            f"There is no scope {scope!r}.", exit_code=2, remedy=f"Use {', '.join(SCOPES)}."
        )
    try:
        day = date.fromisoformat(expires) if expires else None
    except ValueError:
        raise CliError(
            f"--expires {expires} is no date.", exit_code=2, remedy="Write it as 2027-12-31."
        ) from None
    if day and day <= date.today():
        raise CliError(
            f"--expires {expires} is over: the token would never count.",
            exit_code=2,
            remedy="Give a later day.",
        )
