"""What is wrong with a TLS connection, in a sentence: gRPC itself says that a handshake failed."""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from servicekit.tls.certificates import Certificates
from servicekit.tls.reading import date_fault, names_of

_SECONDS = 2.0

# OpenSSL's X509_V_ERR_...: other names, and validity.
_OTHER_NAME, _DATES = (62, 64), (9, 10)

# What a server's alert says about the certificate of its client.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "wants a certificate of its clients, and none was shown",
    "UNKNOWN_CA": "does not know the authority that signed the certificate shown to it",
    "CERTIFICATE_EXPIRED": "says that the certificate shown to it is not valid now",
    "BAD_CERTIFICATE": "refuses the certificate shown to it",
    "CERTIFICATE_UNKNOWN": "refuses the certificate shown to it",
    "UNSUPPORTED_CERTIFICATE": "says that the certificate shown to it is not for TLS clients",
    "HANDSHAKE_FAILURE": "refuses the handshake; it may want a certificate of its clients",
    "PROTOCOL_VERSION": "speaks no version of TLS that is spoken here, 1.2 or 1.3",
}


@dataclass(frozen=True)
class Peer:
    """A server: where it is reached, and the name that its certificate must be for."""

    host: str
    port: int
    name: str

    def __str__(self) -> str:
        reached = f"{self.host}:{self.port}"
        return reached if self.name == self.host else f"{self.name} at {reached}"


def diagnose(peer: Peer, certificates: Certificates | None) -> str:
    """Connects once more, and returns what is wrong between the client and the server.

    "" if nothing is wrong with TLS, or it cannot be found out. Without `certificates` the client
    speaks no TLS. It blocks, for some seconds at most.
    """
    try:
        return _of_plain(peer) if certificates is None else _of_tls(peer, certificates)
    except OSError:  # Nobody is there, or does not answer.
        return ""


def _of_plain(peer: Peer) -> str:
    try:
        _meet(peer, _trusting())
    except ssl.SSLError as error:
        # Only a server that speaks TLS refuses in its terms.
        if "ALERT" not in (error.reason or ""):
            return ""
    return (
        f"{peer} speaks TLS, and was called without: name the authority that signed its "
        "certificate, in GATEWAY_TLS_CA for calls of the gateway, with --tls-ca on the command line"
    )


def _of_tls(peer: Peer, certificates: Certificates) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=certificates.current().ca.decode("ascii", "ignore"))
    files = certificates.files
    if files.certificate is not None:
        with suppress(OSError):  # Changed just now; the server then tells about none.
            context.load_cert_chain(files.certificate, files.key, password="")
    try:
        _, is_heard = _meet(peer, context, listens=True)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(peer, certificates, error)
    except ssl.SSLError as error:
        return _refused(peer, certificates, error.reason or "")
    return "" if is_heard else _unwelcome(peer, certificates)


def _meet(
    peer: Peer, context: ssl.SSLContext, *, listens: bool = False
) -> tuple[bytes | None, bool]:
    """Shakes hands and returns the server's certificate, and whether it goes on talking.

    In TLS 1.3 a server looks at the client's certificate afterwards, so one `listens`.
    """
    with (
        socket.create_connection((peer.host, peer.port), timeout=_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=peer.name) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
        try:
            return shown, not listens or bool(secured.recv(1))
        except ConnectionResetError:
            return shown, False


def _trusting() -> ssl.SSLContext:
    """For finding out what a server shows; nothing is ever sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def _distrusted(peer: Peer, certificates: Certificates, error: ssl.SSLCertVerificationError) -> str:
    ca = f"{certificates.files.named('ca')} ({certificates.files.ca})"
    content, _ = _meet(peer, _trusting())
    if content is None:
        return ""
    shown = x509.load_der_x509_certificate(content)
    if error.verify_code in _OTHER_NAME:
        return (
            f"the certificate of {peer} is for {', '.join(names_of(shown)) or 'no name'}, and not "
            f"for {peer.name}; call it by one of its names, or have the certificate issued for this"
        )
    if fault := date_fault(shown, datetime.now(UTC)):
        return f"the certificate of {peer} {fault}; renew it where {peer.name} runs"
    if error.verify_code in _DATES:
        return f"an authority behind the certificate of {peer} has expired; renew {ca}"
    return (
        f"the certificate of {peer} was signed by {shown.issuer.rfc4514_string() or 'nobody'}, "
        f"which is not in {ca}, or with another key ({error.verify_message}); add that authority "
        "there, if you know it"
    )


def _unwelcome(peer: Peer, certificates: Certificates) -> str:
    """gRPC's servers close the connection to a client that they refuse, without a word."""
    files, chain = certificates.files, certificates.current().chain
    own = files.named("certificate")
    if not chain:
        return (
            f"{peer} ended the connection to a client that showed no certificate; if it wants one "
            f"(SERVER_TLS_CA), set {own} and {files.named('key')}"
        )
    shown = x509.load_pem_x509_certificates(chain)[0]
    if fault := date_fault(shown, datetime.now(UTC)):
        return f"{own} is {files.certificate}, whose certificate {fault}; renew it"
    return (
        f"{peer} ended the connection when it saw the certificate of {own} ({files.certificate}), "
        f"which {shown.issuer.rfc4514_string() or 'nobody'} signed; its SERVER_TLS_CA must have "
        "that authority, and its log says what it refused"
    )


def _refused(peer: Peer, certificates: Certificates, reason: str) -> str:
    files = certificates.files
    if "ALERT" not in reason:
        if reason not in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
            return ""
        return (
            f"{peer} speaks no TLS, and {files.named('ca')} is set; leave that out, or give the "
            "server a certificate (SERVER_TLS_CERTIFICATE)"
        )
    said = next((text for end, text in _ALERTS.items() if reason.endswith(end)), "")
    said = said or f"ends the handshake ({reason})"
    own = f"{files.named('certificate')} and {files.named('key')}"
    if files.certificate is None:
        return f"{peer} {said}; set {own}"
    return f"{peer} {said}; see {own} ({files.certificate}) and the server's SERVER_TLS_CA"
