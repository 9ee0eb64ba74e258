"""Which clients a server answers, by the names in the certificates that they show."""

from collections.abc import Callable, Sequence

import grpc

from servicekit.errors import PermissionDenied

# As gRPC has them: DNS names, URIs and addresses among the alternative names.
_ALTERNATIVE = ("peer_dns", "peer_uri", "peer_ip")
_COMMON = "x509_common_name"

# Raises PermissionDenied for a call of somebody else.
PeerCheck = Callable[[grpc.aio.ServicerContext], None]


def any_peer(context: grpc.aio.ServicerContext) -> None:
    """Refuses nobody."""


def only(allowed: Sequence[str]) -> PeerCheck:
    """Returns what refuses all but clients whose certificate has one of these names.

    They are compared as they are, without wildcards.
    """
    wanted = frozenset(allowed)

    def check(context: grpc.aio.ServicerContext) -> None:
        seen = names_seen(context)
        if wanted.isdisjoint(seen):
            raise PermissionDenied(
                f"this server answers {', '.join(sorted(wanted))} (SERVER_TLS_PEERS), and the "
                f"certificate shown is for {', '.join(seen) or 'no name'}; call the "
                "gateway instead, or have that name added",
                reason="PEER_NOT_ALLOWED",
            )

    return check


def names_seen(context: grpc.aio.ServicerContext) -> tuple[str, ...]:
    """Returns the names in the certificate that the client of a call showed: its alternative
    names, else its common name."""
    found = context.auth_context()
    names = [name for key in _ALTERNATIVE for name in found.get(key, ())]
    return tuple(name.decode(errors="replace") for name in names or found.get(_COMMON, ()))
