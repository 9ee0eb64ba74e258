"""The groups of samples that are under way: each makes a step in its turn.

So a foreign item neither waits for a full batch to end nor keeps newcomers out of it.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

from generator.engine.denoising import Denoising, fail
from generator.engine.items import Item
from generator.engine.line import Ticket
from generator.engine.model import LoadedModel

_log = logging.getLogger(__name__)


class Turns:
    """Not thread-safe: the engine's worker owns it.

    `open_model` returns the model that makes an item. At most `max_unets` U-Nets with artefacts in
    them are under way at a time, since no more are kept on the device.
    """

    def __init__(
        self, open_model: Callable[[Item], LoadedModel], *, most: int, max_unets: int
    ) -> None:
        self._open_model, self._most, self._max_unets = open_model, most, max_unets
        self._groups: dict[Hashable, Denoising] = {}
        self._order: deque[Hashable] = deque()
        self._is_crowded = False

    def __len__(self) -> int:
        """The number of samples that are under way."""
        return sum(map(len, self._groups.values()))

    def rooms(self) -> Mapping[Hashable, int]:
        """Returns how many more items each group takes.

        While a changed model waits for another to leave, the one that began first takes no more.
        """
        rooms = {group: self._most - len(found) for group, found in self._groups.items()}
        if self._is_crowded and (
            first := next(filter(None, map(_changed_model, self._groups)), None)
        ):
            rooms |= {group: 0 for group in rooms if _changed_model(group) == first}
        self._is_crowded = False
        return rooms

    def may_begin(self, ticket: Ticket, taken: Collection[Hashable]) -> bool:
        """Says whether the group of a ticket may begin beside those under way and `taken`."""
        begun = {_changed_model(group) for group in (*self._groups, *taken)} - {None}
        wanted = _changed_model(ticket.group)
        may = wanted is None or wanted in begun or len(begun) < self._max_unets
        self._is_crowded |= not may
        return may

    def admit(self, group: Hashable, tickets: Sequence[Ticket]) -> None:
        """Begins new samples of a group."""
        if group not in self._groups:
            item = tickets[0].item
            try:
                self._groups[group] = Denoising(self._open_model(item), fixed=item.deterministic)
            except Exception as error:
                for ticket in tickets:
                    fail(ticket, error)
                return
            self._order.append(group)
        self._do(group, lambda denoising: denoising.admit(tickets))

    def step(self) -> int:
        """Makes one step of the group whose turn it is. Returns how many samples moved."""
        if not self._order:
            return 0
        self._order.rotate(-1)
        group = self._order[-1]
        moved = len(self._groups[group])
        self._do(group, Denoising.step)
        return moved

    def abandon(self, error: BaseException) -> None:
        """Fails everything that is under way."""
        for denoising in self._groups.values():
            denoising.abandon(error)
        self._groups.clear()
        self._order.clear()

    def _do(self, group: Hashable, what: Callable[[Denoising], None]) -> None:
        """Does something with a group; what breaks fails its samples, and no others."""
        denoising = self._groups[group]
        try:
            what(denoising)
        except Exception as error:
            _log.exception("a denoising step failed")
            denoising.abandon(error)
        if not len(denoising):
            del self._groups[group]
            self._order.remove(group)


def _changed_model(group: Hashable) -> Hashable | None:
    """Returns model and artefacts of a ticket's group; None without artefacts."""
    if not isinstance(group, tuple) or not group[1]:
        return None
    return group[:2]
