"""Which files one side of TLS uses, by the names of its settings."""

from dataclasses import dataclass
from pathlib import Path

from servicekit.settings import SettingsError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. `certificate` has the chain behind it, `ca` is whose certificates are believed.

    `prefix` is what the settings begin with: SERVER_TLS_ or --tls-.
    """

    certificate: Path | None
    key: Path | None
    ca: Path | None
    prefix: str

    def named(self, part: str) -> str:
        """Returns the setting of a part: certificate, key or ca."""
        return setting_of(self.prefix, part)

    def each(self) -> tuple[Path, ...]:
        """Returns the files that are set."""
        return tuple(path for path in (self.certificate, self.key, self.ca) if path is not None)


def server_files(certificate: str, key: str, ca: str, prefix: str) -> TlsFiles | None:
    """Returns the files of a server; None without any: it speaks no TLS.

    With `ca` clients must show a certificate. Raises SettingsError if a part is missing.
    """
    if ca and not certificate:
        raise SettingsError(
            f"{setting_of(prefix, 'ca')} is set, so that clients show certificates, and "
            f"{setting_of(prefix, 'certificate')} is not: a server needs its own as well"
        )
    return _files(certificate, key, ca, prefix)


def client_files(certificate: str, key: str, ca: str, prefix: str) -> TlsFiles | None:
    """Returns the files of a client; None without any: it speaks no TLS.

    Raises SettingsError if a part is missing.
    """
    if certificate and not ca:
        raise SettingsError(
            f"{setting_of(prefix, 'certificate')} is set and {setting_of(prefix, 'ca')} is not: "
            "set it to the certificates of the authorities that servers' certificates are signed "
            "by"
        )
    return _files(certificate, key, ca, prefix)


def _files(certificate: str, key: str, ca: str, prefix: str) -> TlsFiles | None:
    if bool(certificate) != bool(key):
        there, missing = ("certificate", "key") if certificate else ("key", "certificate")
        raise SettingsError(
            f"{setting_of(prefix, there)} is set and {setting_of(prefix, missing)} is not; a "
            "certificate and its key belong together: set both or neither"
        )
    if not (certificate or ca):
        return None
    paths = [Path(text).expanduser() if text else None for text in (certificate, key, ca)]
    return TlsFiles(paths[0], paths[1], paths[2], prefix)


def setting_of(prefix: str, part: str) -> str:
    """Returns what the setting of a part is called: SERVER_TLS_KEY, --tls-key."""
    return prefix + (part if prefix.startswith("-") else part.upper())
