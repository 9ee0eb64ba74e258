"""Has policies found before the runs that use them: each search once for all runs that ask."""

import asyncio
from collections import Counter
from collections.abc import Callable

from servicekit.together import in_full
from trainer.history import RunHistory
from trainer.launchers.base import Launcher, Report
from trainer.runs import RunRequest
from trainer.searching.requests import search_of

OnSearch = Callable[[int, int], None]


class Searches:
    """Searches that a launcher does, and who waits for them."""

    def __init__(self, history: RunHistory, launcher: Launcher) -> None:
        self._history, self._launcher = history, launcher
        self._waiting: Counter[str] = Counter()

    async def find(
        self, request: RunRequest, on_search: OnSearch, is_leaving: Callable[[], bool]
    ) -> None:
        """Returns once the store has the policy that a run names; goes on where it was.

        `on_search` is told how many steps are done, of how many. The last run that no longer waits
        ends the search, unless the trainer is leaving, which is not to say that none wants it.
        """
        name, search = request.found_policy, search_of(request)
        if await asyncio.to_thread(self._history.has_result, name):
            return
        on_search(0, search.step_count)

        def on_report(report: Report) -> None:
            on_search(report.step, search.step_count)

        self._waiting[name] += 1
        is_cancelled = False
        try:
            await asyncio.to_thread(self._history.add, name, search, b"")
            await self._launcher.start(name, search)
            await self._launcher.follow(name, on_report)
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        finally:
            self._waiting[name] -= 1
            if is_cancelled and not self._waiting[name] and not is_leaving():
                await in_full(self._launcher.cancel(name))
