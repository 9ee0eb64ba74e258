"""How much one principal may ask at a time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servicekit.errors import Exhausted

# Principals that are remembered; who has not called for longest is forgotten, and has its full
# allowance again.
_MOST = 10_000


@dataclass
class _Use:
    left: float
    at: float
    in_flight: int = 0


class Allowances:
    """A token bucket for each principal, and how many of its calls are being answered."""

    def __init__(
        self,
        calls_per_second: float,
        calls_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._most, self._clock = calls_per_second, calls_in_flight, clock
        self._burst = max(calls_per_second, 1.0)
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Encloses a call. Raises Exhausted, which says when to try again."""
        use = self._use(name)
        if use.left < 1:
            raise Exhausted(
                f"{name} calls more than {self._rate:g} times a second; call less often",
                reason="TOO_MANY_CALLS",
                retry_after=(1 - use.left) / self._rate,
            )
        if use.in_flight >= self._most:
            raise Exhausted(
                f"{use.in_flight} calls of {name} are being answered, and no more are allowed at a "
                "time; wait for them",
                reason="TOO_MANY_CALLS",
            )
        use.left -= 1
        use.in_flight += 1
        try:
            yield
        finally:
            use.in_flight -= 1

    def _use(self, name: str) -> _Use:
        now = self._clock()
        use = self._uses.setdefault(name, _Use(self._burst, now))
        use.left = min(self._burst, use.left + (now - use.at) * self._rate)
        use.at = now
        self._uses.move_to_end(name)
        if len(self._uses) > _MOST:
            idle = next((one for one, its in self._uses.items() if not its.in_flight), None)
            if idle is not None:
                del self._uses[idle]
        return use
