"""The token that a command sends to a gateway that asks its callers who they are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.cli.failures import CliError
from servicekit.targets import Target


def token_source(
    environ: Mapping[str, str], gateway: str, *, is_encrypted: bool = False
) -> Callable[[], str] | None:
    """Returns what gives the token of VARIEGATE_TOKEN or VARIEGATE_TOKEN_FILE; None without one.

    The file is read for every call, so that another program may renew the token in it. Raises
    CliError if there is none, or if the token would travel where others can read it.
    """
    text, file = environ.get("VARIEGATE_TOKEN", ""), environ.get("VARIEGATE_TOKEN_FILE", "")
    if not text and not file:
        return None
    if text and file:
        raise CliError(
            "VARIEGATE_TOKEN and VARIEGATE_TOKEN_FILE are both set.",
            exit_code=2,
            remedy="Leave one of them out.",
        )
    if not is_encrypted and not Target.of(gateway).is_loopback():
        raise CliError(
            f"The token would travel to {gateway} unencrypted.",
            exit_code=2,
            remedy="Use --tls-ca, or reach the gateway through `kubectl port-forward` or an SSH "
            "tunnel, at 127.0.0.1.",
            reason="TOKEN_UNPROTECTED",
        )
    if text:
        return lambda: text
    path = Path(file).expanduser()
    _read(path)
    return lambda: _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"The token in {path} cannot be read: {error}.",
            exit_code=2,
            remedy="Check VARIEGATE_TOKEN_FILE.",
        ) from None
