"""Where a server listens."""

import socket

import grpc

from servicekit.errors import Precondition
from servicekit.tls.certificates import Certificates
from servicekit.tls.serving import server_credentials


def bind(
    server: grpc.aio.Server, name: str, address: str, certificates: Certificates | None = None
) -> int:
    """Lets the server of a service listen on "HOST:PORT", with TLS if there are certificates.

    Returns the port; 0 picks a free one. Raises Precondition if it is in use.
    """
    host, _, port = address.rpartition(":")
    if port != "0" and _is_taken(host, int(port)):
        raise _port_in_use(name, address)
    try:
        if certificates is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, server_credentials(certificates)))
    except RuntimeError as error:
        raise _port_in_use(name, address) from error


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        local = "127.0.0.1" if host in ("", "0.0.0.0") else host
        return probe.connect_ex((local, port)) == 0


def _port_in_use(name: str, address: str) -> Precondition:
    return Precondition(
        f"the {name} cannot listen on {address}: the port is in use; stop what uses it or choose "
        "another port",
        subject=address,
        reason="PORT_IN_USE",
    )
