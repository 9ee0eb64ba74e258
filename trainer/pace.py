"""How fast runs were trained here: what the next plan reckons with.

A pace belongs to what determines it, such as the classifier and the sizes of image and batch (see
`RunKind.pace_key`), and to where the trainer computes. It is kept in the store.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from servicekit.errors import NotFound
from servicekit.storage import ObjectStore

# What was measured in these seconds counts fully, and what is older ever less: machines change.
_REMEMBERED_SECONDS = 600.0


@dataclass(frozen=True)
class Pace:
    """Images that were trained on, in how many seconds."""

    images: float = 0.0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Images per second; 0 if none was measured."""
        return self.images / self.seconds if self.seconds else 0.0

    def plus(self, other: "Pace") -> "Pace":
        """Returns both together; much of the older one counts as less."""
        kept = min(1.0, _REMEMBERED_SECONDS / self.seconds) if self.seconds else 1.0
        return Pace(kept * self.images + other.images, kept * self.seconds + other.seconds)


class Paces:
    """The paces in the object store, of a trainer that computes at `place`. Synchronous."""

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store = store
        self._place = place

    def get(self, key: Sequence[Any]) -> Pace:
        """Returns the pace of runs with this key; an empty one if nothing was measured."""
        try:
            return Pace(**json.loads(self._store.get(self._place_of(key))))
        except (NotFound, ValueError, TypeError):
            return Pace()

    def add(self, key: Sequence[Any], pace: Pace) -> None:
        """Adds what was measured."""
        if pace.images:
            data = json.dumps(asdict(self.get(key).plus(pace))).encode()
            self._store.put(self._place_of(key), data, overwrite=True)

    def _place_of(self, key: Sequence[Any]) -> str:
        content = json.dumps([*key, self._place])
        return f"training-rates/{hashlib.sha256(content.encode()).hexdigest()}.json"


class Meter:
    """Adds up what the reports of one run say."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._step = 0
        self.pace = Pace()

    def report(self, step: int, images_per_second: float) -> None:
        """Notes a report; its rate is 0 for steps that were done before an interruption."""
        images = (step - self._step) * self._batch_size
        if images_per_second > 0:
            self.pace = Pace(
                self.pace.images + images, self.pace.seconds + images / images_per_second
            )
        self._step = step
