"""The S3 store against the bare minio client, on a real S3 server (SeaweedFS).

Run it with `python -m benchmarks.object_store`. Both put and get the same 1,000 images of 20 KB
with eight threads. The store does more for it: a put is a no-op where the key exists, is checked
for damage, and is tried again where that may help. Both take turns of 100 images, so that what else
the machine does hits both alike. The ratio is the bare client's time over the store's.
"""

import io
import json
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minio import Minio

from servicekit.s3 import S3Store
from tests.seaweed import BUCKET, Seaweed

IMAGES, BYTES, THREADS = 1000, 20_000, 8
TURN, ROUNDS = 100, 6

Call = Callable[[str, bytes], object]


def measure() -> dict[str, float]:
    """Returns the ratio over both directions, and images per second of each."""
    with tempfile.TemporaryDirectory() as folder:
        server = Seaweed(Path(folder))
        server.start()
        try:
            spent = _spend(server)
        finally:
            server.kill()
    bare, store = spent["bare put"] + spent["bare get"], spent["store put"] + spent["store get"]
    count = IMAGES * ROUNDS
    rates = {f"{name.replace(' ', '_')}s_per_second": count / spent[name] for name in spent}
    return {"ratio": bare / store, "required": 0.9, **rates}


def _spend(server: Seaweed) -> dict[str, float]:
    """Returns the seconds of each kind of work. A round before the first only warms up."""
    client, store = server.client(), server.store()
    work: dict[str, Call] = {
        "bare put": lambda key, data: _bare_put(client, key, data),
        "store put": lambda key, data: store.put(f"store/{key}", data),
        "bare get": lambda key, data: _bare_get(client, key),
        "store get": lambda key, data: _check(store, key, data),
    }
    images = [random.Random(number).randbytes(BYTES) for number in range(IMAGES)]
    spent = dict.fromkeys(work, 0.0)
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(ROUNDS + 1):
            for start in range(0, IMAGES, TURN):
                part = images[start : start + TURN]
                keys = [f"images/{turn}/{start + number:04d}.png" for number in range(len(part))]
                for name, call in work.items():
                    began = time.perf_counter()
                    list(pool.map(call, keys, part))
                    spent[name] += (time.perf_counter() - began) * bool(turn)
    return spent


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
