"""The server's side: credentials that follow the files, and who the client is."""

import grpc

from servicekit.tls.certificates import Certificates, Loaded


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Returns credentials that look at the files at every handshake.

    With authorities clients must show a certificate that one of them signed.
    """
    last = certificates.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        found = certificates.current()
        if found is last:
            return None
        last = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(last), fetch, certificates.files.ca is not None
    )


def _configuration(loaded: Loaded) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(loaded.key, loaded.chain)], loaded.ca or None
    )
