"""Free ports for servers of other projects, which cannot bind port 0 themselves."""

import socket


def free_port() -> int:
    """Returns a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
