"""Settings that every server has."""

from dataclasses import dataclass

from servicekit.limits import (
    CONNECTION_CALLS,
    MESSAGE_BYTES,
    METADATA_BYTES,
    SERVER_CALLS,
    STREAMED_REQUESTS,
)
from servicekit.places import HOST, state_folder
from servicekit.settings import Limits, SettingsError, setting
from servicekit.tls.certificates import Certificates
from servicekit.tls.files import server_files
from servicekit.tls.peers import PeerCheck, any_peer, only

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LEVEL = Limits(
    form=f"(?i:{'|'.join(_LEVELS)})", words=f"{', '.join(_LEVELS[:-1])} or {_LEVELS[-1]}"
)


@dataclass(frozen=True)
class ServerSettings:
    """Settings that every service process has. Each is SERVER_... in the environment."""

    host: str = setting(
        HOST, "Address to listen on; 0.0.0.0 is every network that this machine is on."
    )
    port: int = setting(
        0, "Port to listen on; 0 picks a free one.", limits=Limits(least=0, most=65535)
    )
    metrics_port: int = setting(
        0, "Port of Prometheus metrics; 0: none.", limits=Limits(least=0, most=65535)
    )
    health_port: int = setting(
        0,
        "Port of health alone, in plaintext, for probes that speak no TLS; 0: none.",
        limits=Limits(least=0, most=65535),
    )
    store: str = setting(
        (state_folder() / "objects").as_uri(),
        "Object store of all services: file:///FOLDER or s3://BUCKET?endpoint=HOST:PORT.",
    )
    log_level: str = setting("INFO", "What is logged.", limits=_LEVEL)
    trace_endpoint: str = setting(
        "", "Where traces go (OTLP, gRPC), http://HOST:4317; if empty OTEL_EXPORTER_... say it."
    )
    drain_seconds: float = setting(
        30.0, "How long calls in flight may take to end after SIGTERM.", least=0
    )
    max_message_bytes: int = setting(
        MESSAGE_BYTES,
        "Largest request, in bytes; a larger one is RESOURCE_EXHAUSTED.",
        limits=Limits(least=2**16, most=2**31 - 1),
    )
    max_metadata_bytes: int = setting(
        METADATA_BYTES,
        "Most metadata of a call, in bytes; more is RESOURCE_EXHAUSTED.",
        limits=Limits(least=2**12, most=2**20),
    )
    max_calls: int = setting(
        SERVER_CALLS,
        "Most calls that are answered at a time, health left out; more are RESOURCE_EXHAUSTED, "
        "with the time to wait.",
        least=1,
    )
    max_connection_calls: int = setting(
        CONNECTION_CALLS,
        "Most calls of one connection that are answered at a time; more wait in the client.",
        limits=Limits(least=1, most=2**31 - 1),
    )
    max_streamed_requests: int = setting(
        STREAMED_REQUESTS,
        "Most requests that one call may send; a further one is INVALID_ARGUMENT, and those before "
        "are answered.",
        least=1,
    )
    tls_certificate: str = setting(
        "", "PEM file of the server's certificate and its chain; empty: no TLS."
    )
    tls_key: str = setting("", "PEM file of that certificate's key.")
    tls_ca: str = setting(
        "",
        "PEM file of authorities: clients must show a certificate signed by one of them; empty: "
        "they need none. What is wrong with one that is refused is said to the client, in a "
        "sentence, and here by gRPC itself, on stderr (Handshake failed with error ...: the cause, "
        "without the client's address, which gRPC gives nobody).",
    )
    tls_peers: tuple[str, ...] = setting(
        (),
        "Clients that are answered, by the names in their certificates: DNS names, URIs and "
        "addresses, or the common name of one without these. Others may ask for health alone. "
        "Empty: whoever shows a certificate.",
    )

    def certificates(self) -> Certificates | None:
        """Returns what the server shows and believes; None without TLS. Raises SettingsError."""
        if self.tls_peers and not self.tls_ca:
            raise SettingsError(
                "SERVER_TLS_PEERS is set and SERVER_TLS_CA is not: set it to the certificates of "
                "the authorities that vouch for the names of clients"
            )
        files = server_files(self.tls_certificate, self.tls_key, self.tls_ca, "SERVER_TLS_")
        return None if files is None else Certificates(files, "server")

    def options(self) -> list[tuple[str, int]]:
        """Returns the limits that gRPC itself keeps. Between two limits of metadata it would refuse
        at random."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.max_concurrent_streams", self.max_connection_calls),
        ]

    def peers(self) -> PeerCheck:
        """Returns what decides which clients are answered."""
        return only(self.tls_peers) if self.tls_peers else any_peer
