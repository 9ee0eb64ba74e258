"""Stores with objects that nothing names, made old, and a sweep of them."""

import hashlib
import os
import time

from gateway.cli.garbage.collecting import collect

OLD = 1_000_000.0


def key_of(text, folder="generated"):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{folder}/{digest[:2]}/{digest}.png"


def put_garbage(store, count=3):
    """Puts images that nothing names, and what is kept whatever names it."""
    garbage = [key_of(str(number)) for number in range(count)]
    garbage += [key_of("scan", "images"), f"weights/{'ab' * 32}.safetensors"]
    for key in garbage:
        store.put(key, b"pixels")
    store.put("photos/mine.png", b"somebody's own")
    return set(garbage)


def age(store, *keys):
    for key in keys or list(store.list("")):
        os.utime(store.root / key, (OLD, OLD))


def swept(store, *, delete=True, caches=False, before=None):
    before = time.time() - 7200 if before is None else before
    return collect(store, before, caches=caches, delete=delete, report=lambda stage, count: None)
