"""The public keys of an issuer of tokens, which change from time to time (RFC 7517)."""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from servicekit.errors import Unauthenticated, Unavailable

_FRESH_SECONDS = 300.0
# A key that is not known is looked for, but no more often than this, whatever is sent.
_AGAIN_SECONDS = 10.0
_TIMEOUT_SECONDS, _MOST_BYTES = 5.0, 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeySource:
    """Where the keys are: `url` is a JWKS, or if empty what the issuer's discovery document names.

    If they cannot be fetched, those of before count for `stale_seconds` after they were fetched.
    """

    issuer: str
    url: str = ""
    stale_seconds: float = 3600.0


class Keys:
    """Fetches the keys when they are needed, in a thread."""

    def __init__(self, source: KeySource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._keys: list[jwt.PyJWK] = []
        self._fetched = self._tried = float("-inf")
        self._changing = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """Returns the key of a token, whose header may name none if there is only one.

        Raises Unauthenticated if the issuer has no such key, and Unavailable if its keys cannot be
        fetched.
        """
        await self._refresh(_FRESH_SECONDS)
        found = self._find(key_id)
        if found is None:
            await self._refresh(_AGAIN_SECONDS)
            found = self._find(key_id)
        if found is None:
            raise Unauthenticated(
                f"the token is signed with the key {key_id or '(unnamed)'}, which "
                f"{self._source.issuer} does not have (any more); get a new token",
                reason="KEY_UNKNOWN",
            )
        return found

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    async def _refresh(self, seconds: float) -> None:
        """Fetches the keys if they are older than this; Unavailable if there are none to use."""
        async with self._changing:
            now = self._clock()
            if now - self._fetched > seconds and now - self._tried > _AGAIN_SECONDS:
                self._tried = now
                try:
                    self._keys = await asyncio.to_thread(_fetch, self._source)
                    self._fetched = now
                except (OSError, ValueError, jwt.PyJWTError) as error:
                    _log.warning("the keys of %s cannot be fetched: %s", self._source.issuer, error)
            if now - self._fetched > self._source.stale_seconds:
                raise Unavailable(
                    f"the keys of {self._source.issuer} cannot be fetched, so its tokens cannot "
                    "be checked; try again shortly",
                    reason="KEYS_UNREACHABLE",
                    retry_after=_AGAIN_SECONDS,
                )


def _fetch(source: KeySource) -> list[jwt.PyJWK]:
    """Returns the keys that sign. Raises OSError or ValueError."""
    url = source.url
    if not url:
        found = _get_json(f"{source.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != source.issuer:
            raise ValueError(f"the discovery document is that of {found.get('issuer')!r}")
        url = str(found.get("jwks_uri", ""))
        # What an issuer says leads to its keys, not to a file here, nor past its encryption.
        if urlsplit(url).scheme not in {"https", urlsplit(source.issuer).scheme}:
            raise ValueError(f"the discovery document names {url!r} for its keys")
    keys = []
    for entry in _get_json(url).get("keys", []):
        if entry.get("use", "sig") != "sig":
            continue
        try:
            keys.append(jwt.PyJWK.from_dict(entry))
        except jwt.PyJWTError as error:  # Of a kind that we do not know, or damaged.
            _log.warning("a key of %s cannot be used: %s", source.issuer, error)
    if not keys:
        raise ValueError(f"{url} has no key that signs")
    return keys


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        data = answer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{url} is larger than {_MOST_BYTES} bytes")
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError(f"{url} is no JSON object")
    return document
