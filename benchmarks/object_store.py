"""The S3 store against the bare minio client, on a real S3 server (SeaweedFS).

Run it with `python -m benchmarks.object_store`. Both put and get the same 1,000 images of 20 KB
with eight threads. The store does more for it: a put is a no-op where the key exists, is checked
for damage, and is tried again where that may help. Both take turns of 100 images, each first in
every second turn. The ratio is the median over turns of the bare client's time over the store's.
"""

import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minio import Minio

from benchmarks.paired import ratios
from tests.seaweed import BUCKET, Seaweed

IMAGES, BYTES, THREADS = 1000, 20_000, 8
TURN, ROUNDS = 100, 6

Call = Callable[[str, bytes], object]


def measure() -> dict[str, float]:
    """Returns the ratio over both directions, its error, and images per second of each."""
    with tempfile.TemporaryDirectory() as folder:
        server = Seaweed(Path(folder))
        server.start()
        try:
            spent = _spend(server)
        finally:
            server.kill()
    bare, store = (
        [put + get for put, get in zip(spent[f"{who} put"], spent[f"{who} get"], strict=True)]
        for who in ("bare", "store")
    )
    rates = {f"{name.replace(' ', '_')}s_per_second": _rate(spent[name]) for name in spent}
    return {**ratios(bare, store), "required": 0.9, **rates}


def _rate(seconds: list[float]) -> float:
    return TURN / statistics.median(seconds)


def _spend(server: Seaweed) -> dict[str, list[float]]:
    """Returns the seconds of each turn by kind of work. A round before the first only warms up."""
    client, store = server.client(), server.store()
    work: dict[str, Call] = {
        "bare put": lambda key, data: _bare_put(client, key, data),
        "store put": lambda key, data: store.put(f"store/{key}", data),
        "bare get": lambda key, data: _check(_bare_get(client, key), data),
        "store get": lambda key, data: _check(store.get(f"store/{key}"), data),
    }
    orders = (list(work), ["store put", "bare put", "store get", "bare get"])
    images = [random.Random(number).randbytes(BYTES) for number in range(IMAGES)]
    spent: dict[str, list[float]] = {name: [] for name in work}
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range((ROUNDS + 1) * IMAGES // TURN):
            part = images[turn * TURN % IMAGES :][:TURN]
            keys = [f"images/{turn}/{number:04d}.png" for number in range(TURN)]
            for name in orders[turn % 2]:
                began = time.perf_counter()
                list(pool.map(work[name], keys, part))
                spent[name].append(time.perf_counter() - began)
    return {name: seconds[IMAGES // TURN :] for name, seconds in spent.items()}


def _bare_put(client: Minio, key: str, data: bytes) -> None:
    client.put_object(BUCKET, f"bare/{key}", io.BytesIO(data), len(data), "image/png")


def _bare_get(client: Minio, key: str) -> bytes:
    response = client.get_object(BUCKET, f"bare/{key}")
    try:
        return bytes(response.read())
    finally:
        response.close()
        response.release_conn()


def _check(found: bytes, data: bytes) -> None:
    if found != data:
        raise RuntimeError("an image came back changed")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
