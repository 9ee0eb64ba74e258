"""What is decided on the images of an augmentation, written down in the store block by block.

A block that is decided needs no plan, no images and no verdicts any more: after the death of the
process its facts are read back, and its rows stay where they are.
"""

import json
from array import array
from collections import Counter
from collections.abc import Set
from typing import Any

from gateway.augment import pictures
from gateway.augment.outcomes import Outcome
from gateway.augment.output import Counts, Output
from gateway.augment.parts import Source
from gateway.augment.rejections import BY_PERSON, MESSAGE
from gateway.augment.seen import Seen
from gateway.durable.progress import WorkProgress
from gateway.plan import Item, Plan
from servicekit.storage import ObjectStore

_FACTS = b"facts"


class Decisions:
    """Accepts and rejects items in the order of the plan. Synchronous, as the store is."""

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        plan: Plan,
        model: str,
        progress: WorkProgress,
        rejections: Set[str] = frozenset(),
        seen: Seen | None = None,
    ) -> None:
        """`rejections` are the ids of items that a person rejected; `seen` are the pictures of
        other methods."""
        self._store, self._folder = store, folder
        self._plan, self._model, self._progress = plan, model, progress
        self._rejections = rejections
        self._seen = seen or Seen()
        self.output = Output(store, Source(folder), decided=progress.decided)
        # Label and index of the rejected images of this round, one after the other.
        self.again = array("i")
        self._fresh = Counter[bool]()
        self.first_rejected: tuple[str, str] | None = None
        self._begin_block()

    def begin_round(self) -> None:
        """Begins a further attempt at what was rejected."""
        self.again = array("i")

    @property
    def by_person_count(self) -> int:
        """How many a person rejected so far."""
        decided = self.output.counts.reasons.values()
        return sum(reasons[BY_PERSON] for reasons in decided)

    def taken(self) -> Counter[bool]:
        """Returns how many were accepted and how many rejected since the last time, here."""
        fresh, self._fresh = self._fresh, Counter()
        return fresh

    def decide(self, item: Item, outcome: Outcome) -> None:
        """Accepts or rejects one item; copies count in the order of the plan."""
        if outcome.reasons:
            self._reject(item, outcome, outcome.reasons[0], outcome.message)
        elif item.item_id in self._rejections:
            self._reject(item, outcome, BY_PERSON, MESSAGE)
        elif twin := self._seen.copy_of(item.slot.class_name, outcome):
            self._reject(item, outcome, "REPEATED", f"repeats the accepted item {twin}")
        else:
            self.output.accept(self._plan, item, outcome, source="generated", model=self._model)
            self._counts.made[item.slot.class_name] += 1
            self._pictures.append({"class_name": item.slot.class_name, **vars(outcome)})
            self._fresh[True] += 1

    def _reject(self, item: Item, outcome: Outcome, reason: str, message: str) -> None:
        if reason == "FAILED":
            self._progress.fail(item.item_id, message)
            self._failures.append((item.item_id, message))
        self.output.reject(self._plan, item, outcome, reason, message)
        self._counts.reasons[item.slot.class_name][reason] += 1
        self._again.extend((item.slot.label, item.slot.index))
        self.first_rejected = self.first_rejected or (item.item_id, message)
        self._fresh[False] += 1

    def end_block(self, attempt: int, block: int) -> None:
        """Writes down what was decided since the last block."""
        self.output.put(attempt, block)
        facts = {
            "counts": self._counts.to_plain(),
            "again": self._again.tolist(),
            "failures": self._failures,
            "first_rejected": self.first_rejected,
        }
        data = pictures.to_bytes(self._pictures, {_FACTS: json.dumps(facts).encode()})
        self._store.put(self.key(attempt, block), data, overwrite=True)
        self.again.extend(self._again)
        self._begin_block()

    def restore(self, data: bytes) -> None:
        """Reads a block back, the next one in order."""
        facts = json.loads(pictures.remember(data, self._seen)[_FACTS])
        self.output.counts.add(Counts.from_plain(facts["counts"]))
        self.again.extend(facts["again"])
        for item_id, message in facts["failures"]:
            self._progress.fail(item_id, message)
        self.first_rejected = facts["first_rejected"] and tuple(facts["first_rejected"])

    def key(self, attempt: int, block: int) -> str:
        """Returns where a block of a round is written down."""
        return f"{self._folder}/{attempt}/{block:06}{pictures.ENDING}"

    def _begin_block(self) -> None:
        self._counts = Counts.none()
        self._again = array("i")
        self._pictures: list[dict[str, Any]] = []
        self._failures: list[tuple[str, str]] = []
