"""One attempt at each of some images: cut into blocks, and these into shards.

Shards are what is made at a time. Their outcomes are in the store until the block that they belong
to is decided, so that a process that dies has nothing to make again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.augment.decisions import Decisions
from gateway.augment.outcomes import Outcome, from_plain
from gateway.methods.base import Slot
from servicekit.storage import ObjectStore, delete_many, get_many

# Images of a block: its boundaries are the same whatever the size of shards.
BLOCK = 2048
# Blocks that are read at a time.
_READ = 16


@dataclass(frozen=True)
class Round:
    """A round of one augmentation, below `folder` of the store. Synchronous, as the store is."""

    store: ObjectStore
    folder: str
    attempt: int
    slots: Sequence[Slot]
    shard_size: int

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        blocks, rest = divmod(len(self.slots), BLOCK)
        return blocks * self.shards_of_block + -(-rest // self.shard_size)

    @property
    def shards_of_block(self) -> int:
        """Number of shards of a whole block."""
        return -(-BLOCK // self.shard_size)

    def shard(self, number: int) -> range:
        """Returns which of the slots a shard has."""
        block, part = divmod(number, self.shards_of_block)
        first = block * BLOCK + part * self.shard_size
        end = min(first + self.shard_size, (block + 1) * BLOCK, len(self.slots))
        return range(first, end)

    def ends_block(self, number: int) -> bool:
        """Says whether a shard is the last one of its block."""
        return (number + 1) % self.shards_of_block == 0 or number + 1 == self.shard_count

    def restore(self, decisions: Decisions) -> tuple[range, frozenset[str]]:
        """Reads back what is decided; returns the shards that are not, and the keys of what is
        there, which may be the outcomes of some."""
        known = frozenset(self.store.list(f"{self.folder}/{self.attempt}/"))
        keys: list[str] = []
        while (key := decisions.key(self.attempt, len(keys))) in known:
            keys.append(key)
        for first in range(0, len(keys), _READ):
            for data in get_many(self.store, keys[first : first + _READ]):
                decisions.restore(data)
        decided = min(len(keys) * self.shards_of_block, self.shard_count)
        return range(decided, self.shard_count), known

    def key(self, number: int) -> str:
        """Returns where the outcomes of a shard are."""
        part = self.shard(number)
        return f"{self.folder}/{self.attempt}/shards/{part.start}-{part.stop}.json"

    def write(self, number: int, outcomes: Iterable[Outcome]) -> None:
        """Keeps what became of a shard. If another gateway was faster, its outcomes stay."""
        data = json.dumps([outcome.to_plain() for outcome in outcomes]).encode()
        self.store.put(self.key(number), data)

    def read(self, number: int) -> list[Outcome]:
        """Returns what was kept of a shard."""
        return [from_plain(values) for values in json.loads(self.store.get(self.key(number)))]

    def forget(self, number: int) -> None:
        """Deletes what was kept of the shards of a block, of which `number` is the last."""
        first = number // self.shards_of_block * self.shards_of_block
        delete_many(self.store, [self.key(one) for one in range(first, number + 1)])
