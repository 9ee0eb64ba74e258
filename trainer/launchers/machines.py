"""One of several machines that train a run together, and start again whenever one is lost.

All that lasts is in the object store, so every try begins with nothing: torchrun is started anew,
meets that of the others, and the workers go on from the newest checkpoint. Each machine looks for
the result in the store meanwhile: that and nothing else says that it is no longer needed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from servicekit.errors import Internal, ServiceError, Unavailable
from trainer.launchers.groups import MEETING_SECONDS, Group, run_group
from trainer.launchers.workers import Event

_log = logging.getLogger(__name__)

# Tries in a row that may fail after all had met: a loss ends one, and so does an error of ours.
_MOST_FAILURES = 4
# A try that lasted so long was not in vain.
_GOOD_SECONDS = 300.0
# After a try; the others are as far by then, and what came out is mostly kept.
_PAUSE_SECONDS = 2.0
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 30.0


async def train_with_others(
    group: Group, spec: Path, on_event: Callable[[Event], None], is_kept: Callable[[], bool]
) -> Event | None:
    """Returns the result on the machine of the first process, None once another has kept it.

    `is_kept` says whether the result is in the store; it is called in a thread. Raises what another
    try would meet again, and what several tries have met.
    """
    tries = _Tries(on_event)
    while not await _kept_within(_PAUSE_SECONDS if tries.count else 0.0, is_kept):
        training = asyncio.create_task(run_group(group, spec, tries.begin()))
        looking = asyncio.create_task(_kept_within(float("inf"), is_kept))
        try:
            await asyncio.wait({training, looking}, return_when=asyncio.FIRST_COMPLETED)
            if training.done() and (result := training.result()) is not None:
                return result
        except ServiceError as error:
            tries.fail(error)
        finally:
            training.cancel()
            looking.cancel()
            await asyncio.wait({training, looking})
    return None


class _Tries:
    """What was tried so far, and whether to try again."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self.count, self._failures = 0, 0
        self._has_met, self._met_at = False, time.monotonic()

    def begin(self) -> Callable[[Event], None]:
        """Begins a try; returns who is to hear of its events."""
        self.count += 1
        self._has_met = False
        return self._hear

    def fail(self, error: ServiceError) -> None:
        """Counts a failure. Raises where the next try would fail, too."""
        if not isinstance(error, Internal):
            raise error
        seconds = time.monotonic() - self._met_at
        if self._has_met:
            self._failures = 1 if seconds > _GOOD_SECONDS else self._failures + 1
            self._met_at = time.monotonic()
            if self._failures == _MOST_FAILURES:
                raise error
        elif seconds > MEETING_SECONDS:
            raise Unavailable(
                f"the machines of this run have not met in {MEETING_SECONDS // 60} minutes; do the "
                "others wait for room (`kubectl get pods`), or does a network policy part them?",
                reason="MACHINES_NOT_MET",
            ) from error
        _log.warning("the training starts again from its last checkpoint: %s", error.message)

    def _hear(self, event: Event) -> None:
        if event["event"] == "started":
            self._has_met, self._met_at = True, time.monotonic()
        else:
            self._on_event(event)


async def _kept_within(seconds: float, is_kept: Callable[[], bool]) -> bool:
    """Looks for the result, ever more seldom, for at least so long."""
    end, pause = time.monotonic() + seconds, _LOOK_SECONDS
    while True:
        try:
            if await asyncio.to_thread(is_kept):
                return True
        except ServiceError as error:  # The training goes on meanwhile.
            _log.warning("the result cannot be looked for: %s", error)
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
