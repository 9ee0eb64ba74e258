"""Errors of the command line itself: a sentence, what to do, and the exit code.

Light on purpose: `variegate --help` imports this, and neither gRPC nor the services.
"""

from collections.abc import Iterable
from difflib import get_close_matches

# The exit code of work that ended, with fewer images in some class than asked for.
SHORTFALL = 5


class CliError(Exception):
    """Ends the command with `message`, the `remedy` below it, and `exit_code`."""

    def __init__(
        self, message: str, *, exit_code: int = 2, remedy: str = "", reason: str = "USAGE"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.remedy = remedy
        self.reason = reason


def unknown(kind: str, name: str, known: Iterable[str], *, listing: str) -> CliError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    few = f" Known: {', '.join(names)}." if names and not near and len(names) <= 20 else ""
    return CliError(
        f"There is no {kind} {name!r}.{guess}{few}",
        remedy=listing,
        reason=f"UNKNOWN_{kind.upper()}",
    )
