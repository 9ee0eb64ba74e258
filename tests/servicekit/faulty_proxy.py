"""A TCP proxy in front of a real server that spoils the first connections in chosen ways."""

import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress

BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 73\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>try again later</Message></Error>   "
)


class FaultyProxy:
    """Forwards bytes. `faults` are used up one per connection: "reset", "busy" or "cut"."""

    def __init__(self, upstream: str, faults=(), tls=None):
        host, port = upstream.split(":")
        self._upstream, self._faults = (host, int(port)), list(faults)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._tls = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self.endpoint = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self.connections += 1
                fault = self._faults.pop(0) if self._faults else ""
                threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client, fault):
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            if fault == "reset":
                client.recv(100)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            elif fault == "busy":
                client.recv(65536)
                client.sendall(BUSY)
                client.close()
            else:
                self._forward(client, limit=2000 if fault == "cut" else None)

    def _forward(self, client, limit):
        server = socket.create_connection(self._upstream)
        threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
        _pump(server, client, limit)


def _pump(source, sink, limit):
    sent = 0
    with suppress(OSError):
        while data := source.recv(1000):
            sink.sendall(data)
            sent += len(data)
            if limit is not None and sent > limit:
                break
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def proxied(upstream, faults=(), tls=None):
    proxy = FaultyProxy(upstream, faults, tls)
    try:
        yield proxy
    finally:
        proxy.close()
