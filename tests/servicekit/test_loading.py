"""The garbage collector while modules and models are loaded."""

import gc
from pathlib import Path

import pytest

from servicekit.loading import undisturbed


def test_the_collector_waits_while_something_is_loaded_and_leaves_it_alone_then():
    try:
        with undisturbed():
            assert not gc.isenabled()
            gc.unfreeze()
            loaded = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(loaded)
    finally:
        gc.unfreeze()


def test_the_collector_works_again_after_what_could_not_be_loaded():
    try:
        with pytest.raises(FileNotFoundError), undisturbed():
            Path("/no/such/model").read_bytes()
        assert gc.isenabled()
    finally:
        gc.unfreeze()
