"""What a retrieval found and judged, written down in the store as it comes.

The record of the step is a pointer: after the death of the process hits and outcomes are read back
from here, and neither searched for nor screened again.
"""

import json
from collections.abc import Sequence, Set
from dataclasses import astuple, dataclass

from gateway.augment.outcomes import Outcome, from_plain
from gateway.clients.retriever import Hit
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class Searched:
    """What is below a folder of the store. Synchronous, as the store is.

    `known` are the keys that were there when the work began.
    """

    store: ObjectStore
    folder: str
    known: Set[str]

    @classmethod
    def below(cls, store: ObjectStore, folder: str) -> "Searched":
        """Returns what is there by now."""
        return cls(store, folder, frozenset(store.list(f"{folder}/")))

    def hits(self, label: int) -> list[Hit] | None:
        """Returns what was found for the class with this label; None if that is not known."""
        if (key := self._hits(label)) not in self.known:
            return None
        return [Hit(*values) for values in json.loads(self.store.get(key))]

    def put_hits(self, label: int, hits: Sequence[Hit]) -> None:
        """Keeps what was found for a class."""
        self.store.put(self._hits(label), json.dumps([astuple(hit) for hit in hits]).encode())

    def outcomes(self, turn: int, block: int) -> list[Outcome] | None:
        """Returns what became of a block of images; None if that is not known.

        Each turn judges what came to be wanted in the one before.
        """
        if (key := self._outcomes(turn, block)) not in self.known:
            return None
        return [from_plain(values) for values in json.loads(self.store.get(key))]

    def put_outcomes(self, turn: int, block: int, outcomes: Sequence[Outcome]) -> None:
        """Keeps what became of a block of images."""
        data = json.dumps([outcome.to_plain() for outcome in outcomes]).encode()
        self.store.put(self._outcomes(turn, block), data)

    def _hits(self, label: int) -> str:
        return f"{self.folder}/hits/{label}.json"

    def _outcomes(self, turn: int, block: int) -> str:
        return f"{self.folder}/outcomes/{turn}/{block:06}.json"
