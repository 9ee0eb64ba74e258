"""How fast images were made here, and how many were kept: what the next plan reckons with.

Rates are measured while images are made, and belong to what determines the pace: the model, the
method, the steps, and whether images are deterministic. The newest thousands of images count. How
fast a model is with any method is kept as well, for methods that made nothing yet.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gateway.api.resources import Recipe
from gateway.digests import digest
from gateway.methods.base import Method
from gateway.plan import GeneratorModel
from servicekit.errors import NotFound
from servicekit.storage import ObjectStore

# Older ones count ever less, since machines and settings change.
_REMEMBERED = 5000
_SAVE_EVERY_SECONDS = 20.0


@dataclass(frozen=True)
class Rate:
    """Images that were made, in how many seconds, and how many of them were accepted."""

    made: float = 0.0
    seconds: float = 0.0
    judged: float = 0.0
    accepted: float = 0.0

    @property
    def per_second(self) -> float:
        """Images per second; 0 if none was measured."""
        return self.made / self.seconds if self.seconds else 0.0

    @property
    def accepted_share(self) -> float:
        """Accepted images as a share of those that were judged; 1 if none was."""
        return self.accepted / self.judged if self.judged else 1.0

    def plus(self, other: "Rate") -> "Rate":
        """Returns both together; much of the older one counts as less."""
        kept = min(1.0, _REMEMBERED / max(self.made, self.judged, 1.0))
        values = asdict(other)
        return Rate(**{name: kept * value + values[name] for name, value in asdict(self).items()})


class Rates:
    """The rates in the object store. Synchronous, as the store is."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(self, key: str) -> Rate:
        """Returns the rate of a key; an empty one if nothing was measured."""
        try:
            return Rate(**json.loads(self._store.get(_place(key))))
        except (NotFound, ValueError, TypeError):
            return Rate()

    def add(self, method: Method, recipe: Recipe, model: GeneratorModel, rate: Rate) -> None:
        """Adds what was measured of a recipe's images, which are those of one method."""
        for key in (rate_key(recipe, model), model_key(method, recipe, model)):
            self._add(key, rate)

    def _add(self, key: str, rate: Rate) -> None:
        data = json.dumps(asdict(self.get(key).plus(rate))).encode()
        self._store.put(_place(key), data, overwrite=True)


def rate_key(recipe: Recipe, model: GeneratorModel) -> str:
    """Returns the key of what determines the pace of a recipe's images."""
    return digest(model.digest, recipe.method, recipe.steps, recipe.deterministic)


def model_key(method: Method, recipe: Recipe, model: GeneratorModel) -> str:
    """Returns the key of the pace of the recipe's model, with whatever method works it as hard."""
    guided = not method.needs.no_guidance
    return digest(model.digest, "", recipe.steps, recipe.deterministic, guided)


class Stopwatch:
    """Counts images that are made, and the seconds in which at least one call makes some."""

    def __init__(self) -> None:
        self._calls = 0
        self._made, self._seconds = 0, 0.0
        self._since = self._saved_at = time.monotonic()

    def begin(self) -> None:
        """Notes the start of a call."""
        self._count_time()
        self._calls += 1

    def end(self, made: int) -> None:
        """Notes the end of a call that made so many images, not counting those that were there."""
        self._count_time()
        self._calls -= 1
        self._made += made

    def is_due(self) -> bool:
        """Says whether what was measured is worth saving."""
        return self._made > 0 and time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS

    def taken(self, outcomes: Mapping[bool, int] | None = None) -> Rate:
        """Returns what was measured since the last time, and `outcomes`: accepted or not."""
        self._count_time()
        counts = outcomes or {}
        accepted = counts.get(True, 0)
        # Time in which nothing new was made is not the pace of making.
        seconds = self._seconds if self._made else 0.0
        rate = Rate(self._made, seconds, accepted + counts.get(False, 0), accepted)
        self._made, self._seconds, self._saved_at = 0, 0.0, time.monotonic()
        return rate

    def _count_time(self) -> None:
        now = time.monotonic()
        if self._calls:
            self._seconds += now - self._since
        self._since = now


def _place(key: str) -> str:
    return f"rates/{key}.json"
