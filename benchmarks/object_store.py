"""The S3 store against the bare minio client, on a real S3 server (SeaweedFS).

Run it with `python -m benchmarks.object_store`. Both put and get the same 1,000 images of 20 KB
with eight threads. The store does more for it: a put is a no-op where the key exists, is checked
for damage, and is tried again where that may help. Rounds take turns, and each side's best counts,
because a machine is never quiet. The ratio is the bare client's time over the store's.
"""

import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minio import Minio

from servicekit.s3 import S3Store
from tests.seaweed import BUCKET, Seaweed

IMAGES, BYTES, THREADS, ROUNDS = 1000, 20_000, 8, 5

Call = Callable[[str, bytes], object]


def measure() -> dict[str, float]:
    """Returns the ratio over both directions, and images per second of each."""
    images = [random.Random(number).randbytes(BYTES) for number in range(IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        server = Seaweed(Path(folder))
        server.start()
        try:
            best = _rounds(server, images)
        finally:
            server.kill()
    bare, store = best["bare put"] + best["bare get"], best["store put"] + best["store get"]
    rates = {f"{name.replace(' ', '_')}s_per_second": IMAGES / best[name] for name in best}
    return {"ratio": bare / store, "required": 0.9, **rates}


def _rounds(server: Seaweed, images: Sequence[bytes]) -> dict[str, float]:
    """Returns the least seconds of each kind of work. The first round only warms up."""
    client, store = server.client(), server.store()
    work: dict[str, Call] = {
        "bare put": lambda key, data: _bare_put(client, key, data),
        "store put": lambda key, data: store.put(f"store/{key}", data),
        "bare get": lambda key, data: _bare_get(client, key),
        "store get": lambda key, data: _check(store, key, data),
    }
    best = dict.fromkeys(work, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, call in work.items():
            seconds = _seconds(call, turn, images)
            if turn:
                best[name] = min(best[name], seconds)
    return best


def _seconds(call: Call, turn: int, images: Sequence[bytes]) -> float:
    keys = [f"images/{turn}/{number:04d}.png" for number in range(len(images))]
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, keys, images))
    return time.perf_counter() - began


def _bare_put(client: Minio, key: str, data: bytes) -> None:
    client.put_object(BUCKET, f"bare/{key}", io.BytesIO(data), len(data), "image/png")


def _bare_get(client: Minio, key: str) -> bytes:
    response = client.get_object(BUCKET, f"bare/{key}")
    try:
        return bytes(response.read())
    finally:
        response.close()
        response.release_conn()


def _check(store: S3Store, key: str, data: bytes) -> None:
    if store.get(f"store/{key}") != data:
        raise RuntimeError(f"{key} came back changed")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
