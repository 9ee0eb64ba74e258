"""A process that builds an index and is killed by the kernel right after a chosen put.

Usage: python -m tests.retriever.killed STORE CACHE POOL_URI WORD COUNT. The put is the COUNTth of a
key that contains WORD; the process ends by SIGKILL in the thread that did it, with all others at
whatever they were doing.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from servicekit.storage import DirectoryStore
from tests.retriever.conftest import SETTINGS, serving


class DeadlyStore(DirectoryStore):
    """Kills the process after the `count`th put of a key with a word in it."""

    def __init__(self, root: Path, word: str, count: int) -> None:
        super().__init__(root)
        self._word, self._left = word, count

    def put(self, key: str, data: bytes, *, overwrite: bool = False) -> bool:
        made = super().put(key, data, overwrite=overwrite)
        self._left -= self._word in key
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return made


async def main(root: str, cache: str, pool: str, word: str, count: str) -> None:
    store = DeadlyStore(Path(root), word, int(count))
    async with serving(store, replace(SETTINGS, cache=Path(cache))) as client:
        print(await client.build("new", pool))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
