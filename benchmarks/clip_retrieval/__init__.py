"""clip-retrieval's own index builder and back end, in an environment of their own."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-clip-retrieval"
_PROGRAM = Path(__file__).with_name("program.py")


def prepare() -> Path:
    """Returns the environment's Python, made if it is not there (a minute, 440 MB)."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".ready"
    if not ready.exists():
        requirements = str(_PROGRAM.with_name("requirements.txt"))
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = ["-m", "pip", "install", "-q", "--no-deps", "-r", requirements]
        subprocess.run([str(python), *install], check=True)
        ready.touch()
    return python


def build(embeddings: Path, folder: Path) -> float:
    """Builds an index with its defaults from `img_emb` and `metadata`; returns the seconds."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    log = (folder / "build.log").open("wb")
    with log:
        subprocess.run(
            [str(prepare()), str(_PROGRAM), "index", str(embeddings), str(folder)],
            check=True,
            stdout=log,
            stderr=log,
        )
    return time.monotonic() - began


def to_arrow(folder: Path, metadata: list[pa.Table]) -> None:
    """Puts Arrow files in the place of the metadata: its quickest provider reads only those."""
    for path in (folder / "metadata").iterdir():
        path.unlink()
    for number, table in enumerate(metadata):
        path = folder / "metadata" / f"{number:05d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


class Backend:
    """A running back end."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._port, self.pid = port, process.pid

    def search(self, vector: list[float], hits: int) -> list[dict[str, Any]]:
        """Returns hits with their metadata. It closes every connection itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        asked = {"modality": "image", "num_images": hits, "indice_name": "pool"}
        body = json.dumps({"embedding_input": vector, **asked})
        connection.request("POST", "/knn-service", body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        connection.close()
        return list(json.loads(answer))


@contextmanager
def serving(folder: Path) -> Iterator[Backend]:
    """Serves an index while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = folder / "paths.json"
    paths.write_text(json.dumps({"pool": str(folder)}))
    with (folder / "back.log").open("wb") as log:
        process = subprocess.Popen(
            [str(prepare()), str(_PROGRAM), "back", str(paths), str(port), "arrow"],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())},
        )
    try:
        _wait(port, process)
        yield Backend(port, process)
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("clip-retrieval's back end ended; see back.log") from None
            time.sleep(0.2)
