"""Keeps the garbage collector out of the way while modules and models are loaded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, no garbage is collected. What is there at the end is out of the collector's sight.

    Modules and models are some million objects. A collection visits all of them: again and again
    while they are made, a fifth of the time of a start, and each stops every thread for some
    tenths of a second later on.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        settle_memory()
        if was_enabled:
            gc.enable()


def settle_memory() -> None:
    """Takes what is loaded by now out of the sight of the garbage collector, for good."""
    gc.collect()
    gc.freeze()
