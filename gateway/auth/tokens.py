"""Tokens of which a file holds the hashes.

One principal a line: NAME SCOPE sha256:HEX, then if wanted owner=NAME and expires=YYYY-MM-DD. What
follows # is a comment. Tokens are 256 random bits, so a plain hash gives nothing away.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.auth.principals import SCOPES, Principal
from servicekit.errors import Unauthenticated
from servicekit.settings import SettingsError
from servicekit.tokens import HASH, hash_of

_LOOK_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Entry:
    principal: Principal
    expires: float  # Seconds since 1970; infinite if never.


class TokenFile:
    """Authenticates by a file, which is read again when it changes.

    Raises SettingsError if the file cannot be used. One that cannot be used later is reported in
    the log, and the last good one counts on.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._entries, self._stamp, self._looked = _read(path), _stamp(path), time.monotonic()

    async def principal(self, token: str) -> Principal:
        """Returns whose token it is. Raises Unauthenticated."""
        self._refresh()
        entry = self._entries.get(hash_of(token))
        if entry is None:
            raise Unauthenticated(
                "the token is not known to this gateway; ask for a new one", reason="TOKEN_UNKNOWN"
            )
        if entry.expires <= self._now():
            day = datetime.fromtimestamp(entry.expires, UTC).date()
            raise Unauthenticated(
                f"the token of {entry.principal.name} expired on {day}; ask for a new one",
                reason="TOKEN_EXPIRED",
            )
        return entry.principal

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = _read(self._path)
        except SettingsError as error:
            _log.error("%s; the tokens read before still count", error)
        else:
            _log.info("read %d tokens from %s", len(self._entries), self._path)


def _stamp(path: Path) -> tuple[int, int, int]:
    """Changes when the file does, also when a link to it is swapped, as Kubernetes does."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _read(path: Path) -> Mapping[str, _Entry]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"GATEWAY_AUTH_TOKENS: {path} cannot be read: {error}") from None
    entries: dict[str, _Entry] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            key, entry = _parse(words)
            if key in entries:
                raise ValueError("the hash stands there twice")
        except ValueError as error:
            raise SettingsError(
                f"GATEWAY_AUTH_TOKENS: line {number} of {path}: {error}; a line is NAME SCOPE "
                "sha256:HEX [owner=NAME] [expires=YYYY-MM-DD], as `variegate token` prints it"
            ) from None
        entries[key] = entry
    return entries


def _parse(words: list[str]) -> tuple[str, _Entry]:
    if len(words) < 3:
        raise ValueError("it has fewer than three words")
    name, scope, key, *rest = words
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is no scope; use {', '.join(SCOPES)}")
    if not key.startswith(HASH) or len(key) != len(HASH) + 64:
        raise ValueError("the third word is no hash")
    bytes.fromhex(key.removeprefix(HASH))
    owner, expires = name, float("inf")
    for word in rest:
        field, _, value = word.partition("=")
        if field == "owner" and value:
            owner = value
        elif field == "expires":
            expires = datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
        else:
            raise ValueError(f"{word!r} is neither owner=NAME nor expires=YYYY-MM-DD")
    return key.lower(), _Entry(Principal(name, owner, SCOPES[scope]), expires)
