"""Targets of gRPC, as HOST:PORT and dns:///NAME:PORT."""

from dataclasses import dataclass
from ipaddress import ip_address

_UNIX = ("unix", "unix-abstract")
# Those that name an address, and not something to look up.
_ADDRESSES = ("ipv4", "ipv6", *_UNIX)


@dataclass(frozen=True)
class Target:
    """The parts of a target. `name_server` is "" for the machine's own; hosts have no brackets."""

    scheme: str
    name_server: str
    host: str
    port: str

    @classmethod
    def of(cls, text: str) -> "Target":
        """Takes "HOST:PORT", "dns:///NAME:PORT", "dns://SERVER/NAME:PORT" and other schemes."""
        scheme, _, rest = text.partition(":")
        name_server = ""
        if scheme not in _ADDRESSES:
            scheme = "dns"
            place = text.removeprefix("dns:").removeprefix("//")
            name_server, _, rest = place.rpartition("/")
        host, _, port = rest.rpartition(":")
        return cls(scheme, name_server, host.strip("[]"), port)

    def is_address(self) -> bool:
        """Says whether it names one place, and nothing is looked up."""
        return self.scheme in _ADDRESSES

    def is_loopback(self) -> bool:
        """Says whether what is sent there stays on this machine, whatever names are looked up."""
        if self.scheme in _UNIX:
            return True
        if self.host == "localhost":
            return not self.name_server
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # A name, or a list of addresses.
            return False
