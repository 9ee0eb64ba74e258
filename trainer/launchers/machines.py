"""One of several machines that train a run together, and start again whenever one is lost.

All that lasts is in the object store, so every try begins with nothing: torchrun is started anew,
meets that of the others, and the workers go on from the newest checkpoint. Each machine looks at
the store meanwhile: the result there and nothing else says that it is no longer needed.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from servicekit.errors import Internal, ServiceError, Unavailable
from trainer.launchers.groups import MEETING_SECONDS, Group, run_group
from trainer.launchers.workers import Event
from trainer.record import RunRecord, Seen

_log = logging.getLogger(__name__)

# Tries in a row that may fail after all had met: a loss ends one, and so does an error of ours.
_MOST_FAILURES = 4
# A try that lasted so long was not in vain.
_GOOD_SECONDS = 300.0
# After a try; what came out is mostly kept by then. The first calls before the others listen.
_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS = 2.0, 1.0
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 30.0


async def train_with_others(
    group: Group, spec: Path, on_event: Callable[[Event], None], record: RunRecord
) -> Event | None:
    """Returns the result on the machine of the first process, None once another has kept it.

    Raises what another try would meet again, and what several tries have met.
    """
    tries = _Tries(on_event)
    while True:
        pause = _PAUSE_SECONDS if group.index else _FIRST_PAUSE_SECONDS
        pause *= tries.count > 0
        if (await _look(record, lambda seen: seen.has_result, pause)).has_result:
            return None
        if not (meeting := await _meeting(group, record)):
            continue
        here = replace(group, meeting=meeting)
        training = asyncio.create_task(run_group(here, spec, tries.begin()))
        looking = asyncio.create_task(_look(record, partial(_is_over, here), math.inf))
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


async def _meeting(group: Group, record: RunRecord) -> str:
    """The name of the next try, by which all meet; "" if the run is over by now.

    The first machine makes it. The others know by it when that one begins anew: their connections
    to a node that fell silent may seem to be sound for a quarter of an hour.
    """
    if group.index == 0:
        name = uuid.uuid4().hex
        await asyncio.to_thread(record.call_to, name)
        return name
    seen = await _look(record, lambda seen: bool(seen.meeting or seen.has_result), MEETING_SECONDS)
    if not seen.meeting and not seen.has_result:
        raise _not_met()
    return seen.meeting


def _is_over(group: Group, seen: Seen) -> bool:
    return seen.has_result or (group.index > 0 and seen.meeting != group.meeting)


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
            raise _not_met() from error
        _log.warning("the training starts again from its last checkpoint: %s", error.message)

    def _hear(self, event: Event) -> None:
        if event["event"] == "started":
            self._has_met, self._met_at = True, time.monotonic()
        else:
            self._on_event(event)


async def _look(record: RunRecord, is_so: Callable[[Seen], bool], seconds: float) -> Seen:
    """Looks at the store, ever more seldom, until it is so or for at least so long."""
    end, pause = time.monotonic() + seconds, _LOOK_SECONDS
    while True:
        try:
            seen = await asyncio.to_thread(record.seen)
            if is_so(seen) or time.monotonic() >= end:
                return seen
        except ServiceError as error:  # The training goes on meanwhile.
            _log.warning("what the other machines do is not known: %s", error)
            if time.monotonic() >= end:
                return Seen()
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)


def _not_met() -> Unavailable:
    return Unavailable(
        f"the machines of this run have not met in {MEETING_SECONDS // 60} minutes; do the others "
        "wait for room (`kubectl get pods`), or does a network policy part them?",
        reason="MACHINES_NOT_MET",
    )
