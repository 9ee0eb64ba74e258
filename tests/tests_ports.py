"""Free ports for servers of other projects, which cannot bind port 0 themselves."""

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST = 20_000


def free_port() -> int:
    """Returns a loopback port that is free now, and that no client is given by chance.

    From the range that the system deals out, a client that calls again and again while a server is
    down may get the server's own port, and the server cannot come back.
    """
    most = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        port = random.SystemRandom().randrange(_LEAST, max(most, _LEAST + 1_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
