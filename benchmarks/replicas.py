"""How augmentations use replicas: many, slow ones among them, and slow screening.

Run it with `python -m benchmarks replicas`. A real gateway makes an augmentation with fake
generators and screeners that hold each image for 100 ms, behind names that a name server answers.
Every figure is the share of what the replicas could make in that time by themselves; the ratio is
the least of them. Start and end, when there is not work for all, count as loss.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.gateway.farm import CAPACITY
from tests.gateway.large import five_services
from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, open_system
from tests.name_server import NameServer
from tests.tests_ports import free_port

REQUIRED = 0.9
SECONDS, RUN_SECONDS = 0.1, 45.0
CLASSES = ("one", "two", "three", "four")

# By name: seconds an image at each generator, and at each screener.
CASES: dict[str, tuple[list[float], list[float]]] = {
    **{f"{count}_replicas": ([SECONDS] * count, [0.0] * 2) for count in (1, 4, 16, 32)},
    "one_of_three_slow": ([4 * SECONDS, SECONDS, SECONDS], [0.0] * 2),
    "screening_100_ms": ([SECONDS], [SECONDS] * 12),
}


def measure() -> dict[str, float]:
    """Returns the shares, and how far from even equal replicas were used."""
    figures: dict[str, float] = {}
    for name, (generators, screeners) in CASES.items():
        share, made = asyncio.run(_run(generators, screeners))
        figures[name] = share
        if len(set(generators)) == 1 and len(generators) > 1:
            mean = sum(made) / len(made)
            figures[f"{name}_spread"] = max(abs(one / mean - 1) for one in made)
    shares = [value for name, value in figures.items() if not name.endswith("_spread")]
    return {"ratio": min(shares), "required": REQUIRED, **figures}


async def _run(generators: Sequence[float], screeners: Sequence[float]) -> tuple[float, list[int]]:
    rate = sum(CAPACITY / seconds for seconds in generators)
    wanted = int(rate * RUN_SECONDS / len(CLASSES))
    port = free_port()
    command = [sys.executable, "-m", "tests.gateway.farm", str(port)]
    command += [*map(str, generators), "--", *map(str, screeners)]
    with (
        tempfile.TemporaryDirectory() as name,
        five_services() as target,
        NameServer(*_addresses(generators)) as makers,
        NameServer(*_addresses(screeners)) as judges,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as farm,
    ):
        assert farm.stdin and farm.stdout
        farm.stdout.readline()
        folder = Path(name)
        train = write_folder(folder / "train", classes=CLASSES, count=2)
        settings = {
            **dict.fromkeys(FIVE, target),
            "generator": makers.target(port),
            "retriever": judges.target(port),
            "shard_size": 32,
        }
        async with open_system(folder / "state", folder, **settings) as system:
            await system.import_folder(train)
            began = time.perf_counter()
            operation = await system.start(method="simple", images_per_class=wanted)
            await system.finish(operation, timeout=600)
            took = time.perf_counter() - began
        farm.stdin.close()
        made = json.loads(farm.stdout.readline())
    return wanted * len(CLASSES) / rate / took, made


def _addresses(replicas: Sequence[float]) -> list[str]:
    return [f"127.0.0.{2 + number}" for number in range(len(replicas))]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
