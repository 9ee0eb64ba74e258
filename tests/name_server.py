"""A DNS server on loopback that answers as a headless Service's does: an address per replica."""

from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer


class NameServer(BaseResolver):
    """Answers every name that ends in ".test" with `addresses`; a context manager."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self._server = DNSServer(self, "127.0.0.1", 0, logger=DNSLogger("-request,-reply"))

    def target(self, port: int, name: str = "generator.test") -> str:
        """Returns the gRPC target of the replicas, which all listen on `port`."""
        return f"dns://127.0.0.1:{self._server.server.server_address[1]}/{name}:{port}"

    def resolve(self, request, handler):
        self.asked += 1
        reply = request.reply()
        name = request.q.qname
        if not str(name).rstrip(".").endswith(".test"):
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            for address in self.addresses:
                reply.add_answer(RR(name, QTYPE.A, rdata=A(address), ttl=1))
        return reply

    def __enter__(self) -> "NameServer":
        self._server.start_thread()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()
        self._server.server.server_close()
