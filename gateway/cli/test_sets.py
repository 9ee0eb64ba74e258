"""Images to test with: those of --test DIR, and any number of further ones, --test NAME=DIR."""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.failures import CliError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
NAME_RULE = "1 to 64 of letters, digits, '-' and '_', starting with a letter"
MOST = 16
_NAMED = re.compile(rf"({NAME.pattern})=(.+)", re.DOTALL)

# Name and place of each.
TestSets = tuple[tuple[str, str], ...]


def split_tests(texts: Sequence[str]) -> tuple[str | None, TestSets]:
    """The place of the test images proper, if one is given, and the further test sets.

    A place that is there is a place, whatever its name looks like. Raises CliError.
    """
    named, plain = [], []
    for text in texts:
        match = _NAMED.fullmatch(text)
        if match and not Path(text).expanduser().exists():
            named.append((match[1], match[2]))
        else:
            plain.append(text)
    names = [name for name, _ in named]
    repeated = [name for name in names if names.count(name) > 1]
    if len(plain) > 1 or repeated or len(named) > MOST:
        what = f"--test is given {len(plain)} times without a name"
        if repeated:
            what = f"Two test sets are called {repeated[0]}"
        elif len(named) > MOST:
            what = f"There are {len(named)} further test sets, and {MOST} at most"
        raise CliError(
            f"{what}.",
            remedy="Give --test DIR once, and each further test set as --test NAME=DIR.",
            reason="TEST_SETS_UNCLEAR",
        )
    return (plain[0] if plain else None), tuple(named)
