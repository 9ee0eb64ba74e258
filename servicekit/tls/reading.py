"""Reads certificates and keys; what is wrong with them is said in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from servicekit.settings import SettingsError
from servicekit.tls.files import TlsFiles

Use = Literal["server", "client"]

_USES = {
    "server": ("TLS servers (serverAuth)", ExtendedKeyUsageOID.SERVER_AUTH),
    "client": ("TLS clients (clientAuth)", ExtendedKeyUsageOID.CLIENT_AUTH),
}


@dataclass(frozen=True)
class Pair:
    """A certificate, with its chain, and its key, both PEM."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]
    begins: datetime
    ends: datetime


def read_pair(files: TlsFiles, use: Use, now: datetime) -> Pair:
    """Returns the certificate and its key. Raises SettingsError if they cannot be used."""
    if files.certificate is None or files.key is None:
        raise ValueError("without a certificate")
    chain, key = _content(files, "certificate"), _content(files, "key")
    found = _certificates(files, "certificate", chain)[0]
    where = _where(files, "certificate")
    if fault := date_fault(found, now):
        raise SettingsError(f"{where}, whose certificate {fault}; {_remedy(found, now)}")
    meaning, wanted = _USES[use]
    if not _may(found, wanted):
        raise SettingsError(
            f"{where}, whose certificate is not for {meaning}; have one issued with that usage"
        )
    if _public(files, key) != found.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ):
        raise SettingsError(
            f"{_where(files, 'key')}, which is the key of another certificate than that of "
            f"{files.named('certificate')} ({files.certificate}); set both to files of one issuing"
        )
    return Pair(chain, key, names_of(found), found.not_valid_before_utc, found.not_valid_after_utc)


def read_ca(files: TlsFiles, now: datetime) -> bytes:
    """Returns the authorities' certificates, PEM. Raises SettingsError if none can be used."""
    content = _content(files, "ca")
    found = _certificates(files, "ca", content)
    if all(date_fault(one, now) for one in found):
        fault = date_fault(found[0], now)
        raise SettingsError(
            f"{_where(files, 'ca')}, whose certificate {fault}; {_remedy(found[0], now)}"
        )
    return content


def date_fault(certificate: x509.Certificate, now: datetime) -> str:
    """Returns why a certificate is not valid now, as "expired on ..."; "" if it is."""
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < certificate.not_valid_before_utc:
        return (
            f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and it "
            f"is {now:%Y-%m-%d %H:%M} here"
        )
    return ""


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Returns the names that a certificate is for: its alternative names, else its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(one.value) for one in common)
    kinds = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)
    return tuple(str(one.value) for one in found if isinstance(one, kinds))


def _remedy(certificate: x509.Certificate, now: datetime) -> str:
    if now < certificate.not_valid_before_utc:
        return "is this machine's clock right? Else wait, or have another issued"
    return "renew it"


def _may(certificate: x509.Certificate, wanted: x509.ObjectIdentifier) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return wanted in found or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in found


def _where(files: TlsFiles, part: str) -> str:
    return f"{files.named(part)} is {getattr(files, part)}"


def _content(files: TlsFiles, part: str) -> bytes:
    path: Path = getattr(files, part)
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{_where(files, part)}, which cannot be read: {error.strerror or error}; set it to a "
            "PEM file that this user may read"
        ) from error


def _certificates(files: TlsFiles, part: str, content: bytes) -> Sequence[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise SettingsError(
            f"{_where(files, part)}, which is no certificate in PEM (-----BEGIN CERTIFICATE-----): "
            f"{error}"
        ) from error
    return found


def _public(files: TlsFiles, key: bytes) -> bytes:
    try:
        found = load_pem_private_key(key, password=None)
    except TypeError as error:
        raise SettingsError(
            f"{_where(files, 'key')}, which is encrypted with a passphrase, and nobody is here to "
            "give it; store the key without one, readable by this user alone"
        ) from error
    except ValueError as error:
        raise SettingsError(
            f"{_where(files, 'key')}, which is no private key in PEM (-----BEGIN PRIVATE KEY-----)"
        ) from error
    return found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
