"""The memory of a training run on 50,000 images of 224 pixels against one on 5,000.

Run it with `python -m benchmarks training_memory`; it takes some minutes. Each size runs in a
process of its own, which prepares the run as the trainer does and has a worker with two loader
processes train it. The ratio is the peak of resident memory of all these processes together in the
small run over that in the large one: 1 where memory does not grow with the number of images.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

from servicekit.storage import DirectoryStore
from trainer.defaults import resolve
from trainer.history import RunHistory
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.runs import RunRequest, RunResult
from trainer.settings import TrainerSettings

SMALL, LARGE, SIDE = 5_000, 50_000, 224
REQUIRED = 1 / 1.2
_LOADERS, _STEPS, _BATCH = 2, 40, 32
_SAMPLE_SECONDS = 0.05


def measure() -> dict[str, float]:
    """Returns the ratio, and each run's peak of memory: of all, and while images are prepared."""
    found = {count: _measured(count) for count in (SMALL, LARGE)}
    figures = {f"{key}_{count}": value for count in found for key, value in found[count].items()}
    ratio = found[SMALL]["peak_mib"] / found[LARGE]["peak_mib"]
    return {"ratio": ratio, "required": REQUIRED, **figures}


def _measured(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training_memory", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _run(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        store = DirectoryStore(Path(name) / "store", durable=False)
        uri = _written(store, count)
        run = RunRequest(
            uri, classifier="cnn4", image_size=SIDE, step_count=_STEPS, batch_size=_BATCH
        )
        request = resolve(run)
        RunHistory(store).add("trainingRuns/memory", request, b"")
        settings = TrainerSettings(Path(name) / "scratch", device="cpu", loaders=_LOADERS)
        launcher, peak = SubprocessLauncher(settings, store), _Peak()
        await launcher.start("trainingRuns/memory", request)
        result = await launcher.follow("trainingRuns/memory", lambda report: None)
        await launcher.close()
        assert isinstance(result, RunResult)
        shards = list((Path(name) / "scratch").glob("images/*/*.tar"))
        assert shards and result.real_image_count == count, "it was not trained from shards"
        return peak.end()


def _written(store: DirectoryStore, count: int) -> str:
    """Has another process write the images, since what that takes is not the trainer's."""
    command = [sys.executable, "-m", "benchmarks.training_images", str(store.root), str(count)]
    command.append(str(SIDE))
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class _Peak:
    """Watches the resident memory of this process and of all that it started."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._most = self._most_alone = 0
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def end(self) -> dict[str, float]:
        """Returns the peaks in MiB: of all together, and of this process."""
        self._ended.set()
        self._watching.join()
        return {"peak_mib": self._most / 2**20, "server_mib": self._most_alone / 2**20}

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._ended.wait(_SAMPLE_SECONDS):
            alone = own.memory_info().rss
            self._most_alone = max(self._most_alone, alone)
            self._most = max(self._most, alone + sum(map(_resident, own.children(recursive=True))))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(int(sys.argv[1])))))
