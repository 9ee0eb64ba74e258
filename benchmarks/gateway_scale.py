"""An augmentation of a quarter of a million images, and a search for a hundred thousand.

Run it with `python -m benchmarks gateway_scale`; it takes some minutes. The five services are
doubles in a process of their own that answer at once and keep nothing, so that what is measured is
the gateway. Each size runs in a gateway process of its own, whose peak of memory is read at its
end. The ratio is the time an item takes in the small run over that in the large one, of the worse
kind: 1 where time grows with the number of images and no faster.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2
from variegate.gateway.v1 import gateway_pb2 as pb

from servicekit.loading import settle_memory
from servicekit.storage import to_uri
from tests.gateway.large import Beats, five_services
from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, System, open_system

# Method, classes, and images wanted of each in a small and in a large run.
KINDS = {"simple": (10, 2_500, 25_000), "retrieval": (20, 500, 5_000)}
REQUIRED = 0.8
_POOL = "pool/images.parquet"
_POLL_SECONDS, _TIMEOUT = 0.05, 3600.0


def measure() -> dict[str, float]:
    """Returns the ratio, and for each kind: time, memory, how late the loop and polls were."""
    figures: dict[str, float] = {}
    ratios = []
    for method, (_, *sizes) in KINDS.items():
        small, large = (_measured(method, size) for size in sizes)
        ratios.append(small["ms_per_item"] / large["ms_per_item"])
        figures[f"{method}_ratio"] = ratios[-1]
        figures |= {f"{method}_small_{name}": small[name] for name in ("ms_per_item", "peak_mib")}
        figures |= {f"{method}_{name}": value for name, value in large.items()}
    return {"ratio": min(ratios), "required": REQUIRED, **figures}


def _measured(method: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.gateway_scale", method, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _run(method: str, size: int) -> dict[str, float]:
    classes = [f"class{number}" for number in range(KINDS[method][0])]
    recipe: dict[str, Any] = {"method": method, "images_per_class": size}
    if method == "retrieval":
        recipe["pool_uri"] = to_uri(_POOL)
    with tempfile.TemporaryDirectory() as name, five_services() as target:
        folder = Path(name)
        train = write_folder(folder / "train", classes=classes, count=2)
        settings = {**dict.fromkeys(FIVE, target), "shard_size": 32}
        async with open_system(folder / "state", folder, **settings) as system:
            await system.import_folder(train)
            system.store.put(_POOL, b"the doubles know what is in it")
            settle_memory()
            return await _timed(system, recipe)


async def _timed(system: System, recipe: dict[str, Any]) -> dict[str, float]:
    beats, polls = Beats(), list[float]()
    watching = asyncio.create_task(beats.watch())
    began, before = time.perf_counter(), _peak_mib()
    operation = await system.start(**recipe)
    request = operations_pb2.GetOperationRequest(name=operation.name)
    while not operation.done:
        await asyncio.sleep(_POLL_SECONDS)
        asked = time.perf_counter()
        operation = await system.operations.GetOperation(request, timeout=_TIMEOUT)
        polls.append(time.perf_counter() - asked)
    seconds = time.perf_counter() - began
    watching.cancel()
    made = pb.Augmentation()
    if not operation.response.Unpack(made):
        raise RuntimeError(operation.error.message)
    return {
        "accepted": made.result.accepted_count,
        "seconds": seconds,
        "ms_per_item": 1000 * seconds / made.result.accepted_count,
        "peak_mib": _peak_mib(),
        "grown_mib": _peak_mib() - before,
        "loop_worked_ms": 1000 * max(beats.worked),
        "loop_late_ms": 1000 * max(beats.late),
        "slowest_poll_ms": 1000 * max(polls),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(sys.argv[1], int(sys.argv[2])))))
