"""The certificates of one side, read again when their files change, as kubelet swaps them."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from servicekit.settings import SettingsError
from servicekit.tls.files import TlsFiles
from servicekit.tls.reading import Use, read_ca, read_pair

_log = logging.getLogger(__name__)

# A certificate that has less left than this, and than this part of its lifetime, should have been
# renewed: cert-manager renews when a third is left.
_SOON, _LAST_PART = timedelta(days=7), 6
_WATCH_SECONDS = 3600.0


@dataclass(frozen=True)
class Loaded:
    """What the files held when they were read. Without a certificate `chain` and `key` are empty,
    and the dates None; without authorities `ca` is empty."""

    chain: bytes = b""
    key: bytes = b""
    ca: bytes = b""
    names: tuple[str, ...] = ()
    begins: datetime | None = None
    ends: datetime | None = None


class Certificates:
    """What one side of TLS shows and believes. Usable from any thread.

    Raises SettingsError if the files do not hold together now. What they hold later is taken if it
    does, and else logged, and the old stays.
    """

    def __init__(
        self, files: TlsFiles, use: Use, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.files, self.use = files, use
        self._now = now
        self._lock = threading.Lock()
        self._seen = self._fingerprint()
        self._loaded = self._read()

    def current(self) -> Loaded:
        """Returns what the files hold, or held when it was last whole: the same object if they did
        not change."""
        seen = self._fingerprint()
        if seen != self._seen:
            with self._lock:
                if seen != self._seen:
                    self._reload(seen)
        return self._loaded

    def warn(self) -> None:
        """Logs a certificate that ends soon, or has ended."""
        found, now = self.current(), self._now()
        if found.begins is None or found.ends is None:
            return
        if found.ends <= now:
            state = "has expired"
        elif found.ends - now < min(_SOON, (found.ends - found.begins) / _LAST_PART):
            state = "expires soon"
        else:
            return
        _log.warning(
            "the certificate of %s (%s) %s: on %s; renew it, it is taken without a restart",
            self.files.named("certificate"),
            self.files.certificate,
            state,
            f"{found.ends:%Y-%m-%d %H:%M} UTC",
        )

    def _fingerprint(self) -> tuple[tuple[int, int, int] | None, ...]:
        found: list[tuple[int, int, int] | None] = []
        for path in self.files.each():
            try:
                state = path.stat()  # Of what a link leads to.
            except OSError:
                found.append(None)
            else:
                found.append((state.st_ino, state.st_mtime_ns, state.st_size))
        return tuple(found)

    def _read(self) -> Loaded:
        now, loaded = self._now(), Loaded()
        if self.files.certificate is not None:
            pair = read_pair(self.files, self.use, now)
            loaded = Loaded(pair.chain, pair.key, b"", pair.names, pair.begins, pair.ends)
        if self.files.ca is not None:
            loaded = replace(loaded, ca=read_ca(self.files, now))
        return loaded

    def _reload(self, seen: tuple[tuple[int, int, int] | None, ...]) -> None:
        try:
            self._loaded = self._read()
        except SettingsError as error:
            _log.warning("%s; those that were read before stay in use", error)
        else:
            ends = self._loaded.ends
            until = f", valid until {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
            _log.info("new certificates in %s are in use%s", self.files.each()[0].parent, until)
        self._seen = seen


async def watch(watched: Sequence[Certificates]) -> None:
    """Warns of certificates that end soon, each hour; ends at once if there are none."""
    while watched:
        for one in watched:
            one.warn()
        await asyncio.sleep(_WATCH_SECONDS)
