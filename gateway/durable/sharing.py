"""Whether a gateway shares its database with others."""

import sqlalchemy as sa

from gateway.durable.database import file_of
from gateway.durable.lease import Lease
from gateway.durable.peers import Alone, Describe, Peers


def peers_of(database_url: str, name: str, lease_seconds: float, describe: Describe) -> Peers:
    """Returns what a gateway knows of others on the same database."""
    try:
        url = sa.make_url(database_url)
    except sa.exc.ArgumentError:
        return Alone(name, None)  # It cannot be opened either, which says why.
    if url.get_backend_name() != "sqlite":
        return Lease(database_url, name, lease_seconds, describe)
    return Alone(name, file_of(database_url) if url.database else None)
