"""A real Milvus Lite server in a process of its own."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from servicekit.errors import Unavailable


class MilvusLite:
    """Milvus Lite over a folder, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        from retriever.index.milvus import MilvusKind, MilvusServer

        program = Path(sys.executable).with_name("milvus-lite")
        arguments = ["--data-dir", str(self._folder), "--port", str(self._port)]
        self._process = subprocess.Popen(
            [program, "server", "--host", "127.0.0.1", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                return MilvusKind(MilvusServer(self.uri), 0).check()
            except Unavailable:
                assert time.monotonic() < deadline and self._process.poll() is None
                time.sleep(0.1)

    def kill(self) -> None:
        """Kills it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
