"""One Ctrl-C, or SIGTERM, ends a command within two seconds, whatever is in its way.

The command is first asked to end in good order. What may keep it are threads that decode, train or
wait for a disk, and the services' own grace; none of them is worth waiting for, since everything
that is finished is on disk and nothing there is ever half-written, not even by `kill -9`. So a
thread is notified of the signal as well, and ends the process when its time is up. A second Ctrl-C
ends it at once. The end of the interpreter, which would join threads, is for the same reason left
out.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 1.5
# A terminal and a wrapper may both pass on one and the same key press.
_ONE_PRESS_SECONDS = 0.3
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """How a command ends that is interrupted: `conclude` tells people and returns the exit code."""

    def __init__(self, conclude: Callable[[signal.Signals], int]) -> None:
        self._conclude = conclude
        self._lock = threading.Lock()
        self._code: int | None = None
        self.number = signal.SIGINT

    def _say(self) -> int:
        with self._lock:
            if self._code is None:
                self._code = self._conclude(self.number)
            return self._code

    def exit(self) -> NoReturn:
        """Tells it, unless that is done, and ends the process now."""
        try:
            code = self._say()
            if sys.stderr.isatty():  # progress bars hide the cursor
                sys.stderr.write("\x1b[?25h")
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except BaseException:  # nothing may keep it, not even a terminal that is gone
            os._exit(1)
        os._exit(code)


@contextmanager
def interruptible(ending: Ending) -> Iterator[None]:
    """Makes signals end the block, as KeyboardInterrupt, and soon the process. Main thread only.

    Once a signal has come, the process ends also if the block does not.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    heard = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, ending), daemon=True)
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        # The process is ending: the watch alone gets further signals.
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: None)
        raise
    except BaseException:
        _stop(writer, heard, before)
        raise
    else:
        _stop(writer, heard, before)


def _stop(writer: socket.socket, heard: int, before: Any) -> None:
    """Ends the watch, and leaves signals to what they were left to before."""
    signal.set_wakeup_fd(heard)
    signal.signal(signal.SIGTERM, before)
    writer.close()


def _as_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Does for SIGTERM what Ctrl-C does to code outside an event loop."""
    raise KeyboardInterrupt


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` as `asyncio.run` does; SIGTERM cancels it too, and KeyboardInterrupt is raised.

    asyncio sees to Ctrl-C alone, and not where SIGINT is ignored, as it is for a job that a script
    starts with `&`. An exception raised in the middle of the loop would leave half-run callbacks
    behind, which has crashed the interpreter; hence a handler that only cancels.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)
    ended = threading.Event()

    async def main() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def cancel(number: int, frame: FrameType | None) -> None:
            ended.set()
            loop.call_soon_threadsafe(task.cancel)

        before = signal.signal(signal.SIGTERM, cancel)
        try:
            return await work
        finally:
            signal.signal(signal.SIGTERM, before)

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if ended.is_set():
            raise KeyboardInterrupt from None
        raise


def _watch(reader: socket.socket, ending: Ending) -> None:
    """Waits for a first signal, then for its time to be up or for a second one."""
    with reader:
        first = _signal(reader)
        if first is None:
            return
        ending.number = first
        began = time.monotonic()
        reader.settimeout(GRACE_SECONDS)
        with suppress(TimeoutError):
            while _signal(reader) and time.monotonic() - began < _ONE_PRESS_SECONDS:
                reader.settimeout(began + GRACE_SECONDS - time.monotonic())
        ending.exit()


def _signal(reader: socket.socket) -> signal.Signals | None:
    """Waits for the next signal that ends a command; None once the block has ended."""
    while data := reader.recv(1):
        if data[0] in _SIGNALS:
            return signal.Signals(data[0])
    return None
