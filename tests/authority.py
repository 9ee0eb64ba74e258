"""A certificate authority of the tests' own, and files as the kubelet mounts them."""

import ipaddress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
# Valid from and until, by what a certificate is.
GOOD, EXPIRED, EARLY = (-1, 30), (-30, -1), (2, 30)
_VERSIONS = count()


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def traditional(self):
        """Returns the same with the key in the form of its algorithm: BEGIN EC PRIVATE KEY."""
        key = load_pem_private_key(self.key, password=None)
        form = PrivateFormat.TraditionalOpenSSL
        return replace(self, key=key.private_bytes(Encoding.PEM, form, NoEncryption()))

    @property
    def ends(self):
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc

    @property
    def serial(self):
        return x509.load_pem_x509_certificate(self.certificate).serial_number


class Authority:
    """Signs certificates. `days` say from when to when they are valid, from now."""

    def __init__(self, name="tests", days=(-60, 60)):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        made = _builder(self._name, self._name, self._key, days)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._own = made.sign(self._key, hashes.SHA256())
        self.certificate = self._own.public_bytes(Encoding.PEM)

    def issue(self, *names, days=GOOD, use=None, common="", passphrase=b""):
        """Returns a certificate for DNS names, URIs and IP addresses, for any use or that alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(_name(common), self._name, key, days)
        if names:
            found = x509.SubjectAlternativeName([_general(name) for name in names])
            made = made.add_extension(found, critical=False)
        if use is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        secret = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
        return Issued(signed.public_bytes(Encoding.PEM), private)


SERVERS_ALONE, CLIENTS_ALONE = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Mounted:
    """A folder with tls.crt, tls.key and ca.crt that change together, as a mounted Secret does."""

    def __init__(self, folder: Path, issued=None, ca=b""):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.ca = folder / "ca.crt"
        self.put(issued, ca)
        for path in (self.certificate, self.key, self.ca):
            path.symlink_to(Path("..data") / path.name)

    def put(self, issued=None, ca=b""):
        """Takes all files to a new version in one step."""
        version = self._folder / f"..version-{next(_VERSIONS)}"
        version.mkdir()
        if issued is not None:
            (version / "tls.crt").write_bytes(issued.certificate)
            (version / "tls.key").write_bytes(issued.key)
        (version / "ca.crt").write_bytes(ca)
        link = self._folder / "..next"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _general(name):
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject, issuer, key, days):
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )
