"""Plans of a hundred thousand and of a million images: memory, time, database, and a kill.

Run it with `python -m benchmarks streaming`; it takes most of an hour. The gateway is a program of
its own in front of services that answer at once and keep nothing; they stand for other machines,
so they take what the gateway leaves of this one's cores. When half of the images are made
it is killed, as the kernel kills what takes too much memory, and started again. Then what was made
is exported, and put into a report. Time is CPU time of the gateway, so that what else the machine
does is not in it. The ratio is that of the bound over what was measured, of whichever is worst.

What a method and size gave is kept below .work/streaming until all is measured, so that a run that
was cut off goes on there. Figures of another commit, or of changed files, are never used.
"""

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from benchmarks.watched_gateway import WatchedGateway
from tests.gateway.large import five_services
from tests.gateway.pictures import write_folder

SIZES = (100_000, 1_000_000)
# Classes, and training images of each; every image has a caption of its own.
KINDS = {"simple": (1000, 2), "mvc": (10, 1000)}
BOUNDS = {
    "peak_mib": 600.0,
    "linearity": 1.15,
    "database_bytes_per_item": 100.0,
    "resume_seconds": 10.0,
    "poll_p99_ms": 50.0,
    "export_peak_mib": 600.0,
    "report_peak_mib": 600.0,
    "report_mib": 10.0,
}
_KEPT = Path(__file__).parents[1] / ".work" / "streaming"
_POLL_SECONDS, _TIMEOUT = 0.02, 7200.0


def measure(sizes: tuple[int, ...] = SIZES) -> dict[str, float]:
    """Returns the figures of every method and size, and how well they keep their bounds."""
    figures: dict[str, float] = {}
    worst: dict[str, float] = {}
    for method in KINDS:
        found = [_kept(method, size) for size in sizes]
        found[-1]["linearity"] = found[-1]["cpu_ms_per_item"] / found[0]["cpu_ms_per_item"]
        for size, values in zip(sizes, found, strict=True):
            figures |= {f"{method}_{size // 1000}k_{name}": one for name, one in values.items()}
            worst |= {name: max(worst.get(name, 0.0), one) for name, one in values.items()}
    ratio = min(bound / worst[name] for name, bound in BOUNDS.items())
    shutil.rmtree(_KEPT, ignore_errors=True)
    return {"ratio": ratio, "required": 1.0, **figures}


def _kept(method: str, size: int) -> dict[str, float]:
    """Returns what was measured of this commit before it was cut off, or measures it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    file = _KEPT / done.stdout.strip() / f"{method}-{size}.json"
    if file.exists() and not file.parent.name.endswith("-dirty"):
        return dict(json.loads(file.read_text()))
    values = _measured(method, size)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))
    return values


def _measured(method: str, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = asyncio.run(_run(folder, method, size))
        print(f"  {method} {size}: {values}", flush=True)
        for kind in ("export", "report"):
            command = [sys.executable, "-m", "benchmarks.streaming_outputs", kind, name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            values |= json.loads(done.stdout.splitlines()[-1])
    return values


async def _run(folder: Path, method: str, size: int) -> dict[str, float]:
    classes, images = KINDS[method]
    names = [f"class{number:04}" for number in range(classes)]
    train = write_folder(folder / "train", classes=names, count=images)
    with five_services(niceness=19) as target:
        gateway = WatchedGateway(folder, target)
        async with gateway.running() as system:
            await system.import_folder(train)
        return await _interrupted(gateway, size, method=method, images_per_class=size // classes)


async def _interrupted(gateway: WatchedGateway, size: int, **recipe: Any) -> dict[str, float]:
    """Makes an augmentation whose gateway is killed when half of it is done."""
    polls: list[float] = []
    async with gateway.running() as system:
        before, began = gateway.cpu_seconds(), time.perf_counter()
        name = (await system.start(**recipe)).name
        half = await _until(system, name, size // 2, polls)
        seconds, cpu = time.perf_counter() - began, gateway.cpu_seconds() - before
        gateway.note()
    killed = time.perf_counter()
    async with gateway.running() as system:
        await _until(system, name, half + 1, polls)
        resumed = time.perf_counter() - killed
        resuming = gateway.cpu_seconds()
        operation = await _until(system, name, None, polls)
        seconds += time.perf_counter() - killed - resumed
        cpu += gateway.cpu_seconds() - resuming
        gateway.note()
    made = pb.Augmentation()
    if not operation.response.Unpack(made):
        raise RuntimeError(operation.error.message)
    count = made.result.accepted_count
    (gateway.folder / "augmentation.bin").write_bytes(made.SerializeToString())
    return {
        "accepted": count,
        "ms_per_item": 1000 * seconds / count,
        "cpu_ms_per_item": 1000 * cpu / count,
        "peak_mib": gateway.peak_mib,
        "database_bytes_per_item": gateway.database_bytes / count,
        "resume_seconds": resumed,
        "poll_p99_ms": 1000 * statistics.quantiles(polls, n=100)[98],
        "poll_worst_ms": 1000 * max(polls),
    }


async def _until(system: Any, name: str, least: int | None, polls: list[float]) -> Any:
    """Polls until so many images are made, and returns how many; or the operation at its end."""
    request, told = operations_pb2.GetOperationRequest(name=name), pb.OperationProgress()
    while True:
        asked = time.perf_counter()
        operation = await system.operations.GetOperation(request, timeout=_TIMEOUT)
        polls.append(time.perf_counter() - asked)
        operation.metadata.Unpack(told)
        if operation.done:
            return operation
        if least is not None and told.stage == "generate" and told.done_count >= least:
            return told.done_count
        await asyncio.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    print(json.dumps(measure(tuple(map(int, sys.argv[1:])) or SIZES), indent=2))
