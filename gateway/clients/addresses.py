"""The addresses behind a target, as gRPC's own targets name them."""

import asyncio
import socket

import dns.asyncresolver
import dns.exception

from servicekit.errors import Unavailable
from servicekit.targets import Target

_SECONDS = 5.0


async def addresses_of(target: str) -> list[str]:
    """Returns gRPC targets of the replicas behind `target`, one each, sorted.

    "HOST:PORT" and "dns:///NAME:PORT" are resolved as by any program here, "dns://SERVER/NAME:PORT"
    by that name server; a name in front of a headless Service has an address for each replica.
    What has IPv4 addresses is reached by these: its others are the same replicas once more. Other
    schemes name one replica. Raises Unavailable if there is no address.
    """
    place = Target.of(target)
    if place.is_address():
        return [target]
    host, port = place.host, place.port
    try:
        async with asyncio.timeout(_SECONDS):
            server = place.name_server
            found = await (_ask(server, host) if server else _look_up(host, port))
    except (OSError, ValueError, dns.exception.DNSException) as error:
        raise Unavailable(
            f"the name {host} has no address: {error or 'no answer in time'}", reason="NO_ADDRESS"
        ) from error
    return sorted(f"ipv6:[{one}]:{port}" if ":" in one else f"ipv4:{one}:{port}" for one in found)


async def _look_up(host: str, port: str) -> set[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = {family for family, *_ in found}
    wanted = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return {str(place[0]) for family, _, _, _, place in found if family == wanted}


async def _ask(authority: str, host: str) -> set[str]:
    server, _, port = authority.rpartition(":") if ":" in authority else (authority, "", "53")
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server], int(port)
    return {record.address for record in await resolver.resolve(host, "A")}
