"""DBOS in this process: launched on the database, and taken down again."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, DBOSConfig
from dbos import error as dbos_error
from dbos._migration import get_sqlite_migration_versions
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from gateway.durable.database import check, engine_of, failure_of, told
from gateway.durable.database_version import check_postgres, compare_version
from gateway.durable.serializer import JsonSerializer
from servicekit.errors import Precondition, Unavailable

_THREADS = 32


class Engine:
    """DBOS for one id at a time. It can be launched again under another one."""

    def __init__(self, database_url: str, lock_seconds: float) -> None:
        """A process that is frozen keeps what it has locked in PostgreSQL for `lock_seconds`."""
        self._database_url = database_url
        self._config = DBOSConfig(
            name="variegate-gateway",
            log_level="ERROR",
            max_executor_threads=_THREADS,
            enable_otlp=False,
            serializer=JsonSerializer(),
            sys_db_idle_transaction_timeout_sec=lock_seconds,
        )
        self._database: Database | None = None
        self.is_open = False  # Whether workflows may be asked for.

    async def prepare(self) -> None:
        """Opens a SQLite database, before DBOS, which would print the trace of a damaged one; makes
        a PostgreSQL database and DBOS's tables in it, if they are not there."""
        self._database = engine_of(self._database_url)
        if self._database:
            check(self._database)
            compare_version(*get_sqlite_migration_versions(self._database))
        else:
            logging.getLogger("dbos").setLevel(logging.ERROR)
            await asyncio.to_thread(check_postgres, self._database_url)
            await asyncio.to_thread(DBOS.migrate, self._database_url)

    def launch(self, executor_id: str, version: str) -> None:
        """Starts to run workflows, on this event loop, which must not move to a thread."""
        url = None if self._database else self._database_url
        own: Any = {"system_database_url": url, "system_database_engine": self._database}
        own |= {"executor_id": executor_id, "application_version": version}
        DBOS(config={**self._config, **own})
        DBOS.launch()
        self.is_open = True
        _log_as_others_do()

    async def close(self) -> None:
        """Takes DBOS down. Work must have ended."""
        # DBOS has made its own threads the loop's, and takes them away: others still need some.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(DBOS.destroy)
        if self._database is not None:
            self._database.dispose()

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Raises Unavailable while there is no DBOS to ask, and what the database fails with."""
        away = Unavailable(
            "this gateway has lost its database for a while and starts again; repeat the request, "
            "nothing that was finished is lost",
            reason="GATEWAY_RESTARTING",
        )
        if not self.is_open:
            raise away
        try:
            with told():
                yield
        except dbos_error.DBOSException as error:
            if self.is_open:
                raise
            raise away from error

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Raises Precondition if the database turns out to be none that can be used."""
        try:
            yield
        except (dbos_error.DBOSException, SQLAlchemyError, OSError) as error:
            if isinstance(error, SQLAlchemyError):
                failure = failure_of(error, self._database_url)
                if not isinstance(failure, Unavailable):
                    raise failure from error
            raise Precondition(
                f"the gateway's database cannot be used: {str(error).splitlines()[0]}; correct "
                "GATEWAY_DATABASE_URL, or start its server",
                subject="GATEWAY_DATABASE_URL",
                reason="DATABASE_UNUSABLE",
            ) from error


def _log_as_others_do() -> None:
    """Sends what DBOS has to say to the log of the process, not to the terminal."""
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
