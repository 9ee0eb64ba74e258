"""Client channels: a deadline on every unary call, retries where a repeat is harmless, TLS."""

import json
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from servicekit.targets import Target
from servicekit.tls.certificates import Certificates, Loaded
from servicekit.tls.channel import RollingChannel, channel_credentials
from servicekit.tls.diagnosis import Peer
from servicekit.tls.explaining import Explanations

_RETRY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_HARMLESS = (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)


def service_config(*services: ServiceDescriptor, follows_health: bool = False) -> str:
    """Returns the gRPC service config: round robin, and retries for idempotent methods only.

    With `follows_health` a server is connected to while its health service says that it serves.
    """
    names = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if method.GetOptions().idempotency_level in _HARMLESS
    ]
    methods = [{"name": names, "retryPolicy": _RETRY}] if names else []
    config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": methods}
    if follows_health:
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)


class _DeadlineRequired(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        if client_call_details.timeout is None:
            raise ValueError(f"{client_call_details.method!r} is called without a timeout")
        return await continuation(client_call_details, request)


class _Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends a token with each call; one that changes meanwhile is sent as it is then."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        header = ("authorization", f"Bearer {self._token()}")
        details = client_call_details._replace(
            metadata=grpc.aio.Metadata(*(client_call_details.metadata or ()), header)
        )
        return await continuation(details, request)


def open_channel(
    target: str,
    *services: ServiceDescriptor,
    follows_health: bool = False,
    token: Callable[[], str] | None = None,
    certificates: Certificates | None = None,
    server_name: str = "",
) -> grpc.aio.Channel:
    """Opens a channel to `target` ("HOST:PORT" or "dns:///NAME:PORT").

    With `follows_health` the channel is ready while the server says that it serves; a server
    without a health service always does. Idempotent methods of `services` are retried on
    UNAVAILABLE. A unary call without a timeout raises ValueError; each is sent with the `token`, if
    one is given: over TLS, or on this machine, and else ValueError is raised here.

    With `certificates` it speaks TLS, and the server's certificate must be for `server_name`, by
    default the host of the target. Where a connection fails because of TLS, also for the lack of
    it, calls say why.
    """
    options = [
        ("grpc.service_config", service_config(*services, follows_health=follows_health)),
        ("grpc.enable_retries", 1),
        ("grpc.dns_min_time_between_resolutions_ms", 10_000),
    ]
    is_here = Target.of(target).is_loopback()
    if token is not None and certificates is None and not is_here:
        raise ValueError(f"a token would travel to {target} unencrypted")
    if is_here:  # A proxy of the environment is for other machines, and would see what is sent.
        options.append(("grpc.enable_http_proxy", 0))
    if certificates is not None and server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    interceptors = [_DeadlineRequired(), *_explanations(target, server_name, certificates)]
    if token is not None:
        interceptors.append(_Bearer(token))
    if certificates is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)

    def opened(loaded: Loaded) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            target, channel_credentials(loaded), options=options, interceptors=interceptors
        )

    return RollingChannel(certificates, opened)


def _explanations(
    target: str, server_name: str, certificates: Certificates | None
) -> list[grpc.aio.ClientInterceptor]:
    place = Target.of(target)
    if not place.port.isdecimal():  # A socket in the file system.
        return []
    peer = Peer(place.host, int(place.port), server_name or place.host)
    return Explanations(peer, certificates).interceptors()
