"""Whether the tables of a database are of this program's version, an older or a newer one.

DBOS brings older ones up to date by itself, and works on newer ones as if it knew them.
"""

import logging

import sqlalchemy as sa
from dbos._migration import get_migration_versions

from servicekit.errors import Precondition

_SCHEMA = "dbos"
_NO_DATABASE = "3D000"  # PostgreSQL's SQLSTATE.
_log = logging.getLogger(__name__)


def compare_version(found: int, known: int) -> None:
    """Says that older tables are brought up to date; 0 are none. Raises Precondition for newer
    ones, which this program could damage."""
    if found > known:
        raise Precondition(
            f"the gateway's database has tables of version {found}, and this program knows "
            f"{known}: a newer version of it has used the database; run that version, or restore "
            "the backup from before the upgrade",
            subject="GATEWAY_DATABASE_URL",
            reason="DATABASE_NEWER",
        )
    if 0 < found < known:
        _log.warning(
            "the gateway's database has tables of version %d, which become version %d; programs "
            "of before cannot use it any more",
            found,
            known,
        )


def check_postgres(database_url: str) -> None:
    """Raises Precondition for tables of a newer version. A database that is not there has none."""
    url = sa.make_url(database_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        found, known = get_migration_versions(engine, _SCHEMA, use_listen_notify=True)
    except sa.exc.OperationalError as error:
        if not _is_missing(error, url.database):
            raise
        return
    finally:
        engine.dispose()
    compare_version(found, known)


def _is_missing(error: sa.exc.OperationalError, database: str | None) -> bool:
    """psycopg tells a refusal at connecting by its words alone."""
    state = getattr(error.orig, "sqlstate", None)
    return state == _NO_DATABASE or f'database "{database}" does not exist' in str(error.orig)
