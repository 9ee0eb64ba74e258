"""Tensors through shared memory: the same bits, and nothing left behind."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from generator.backends import start_triton
from servicekit.storage import MemoryStore
from tests.generator.triton.test_batching import MIXED, made

pytestmark = [pytest.mark.servers, pytest.mark.heavy]

SHARED = Path("/dev/shm")


@pytest.fixture
def sharing(triton_server):
    """A backend with two slots of shared memory."""
    settings = dataclasses.replace(triton_server.settings, shared_memory=True, max_batch=2)
    backend = start_triton(settings, MemoryStore())
    assert backend.is_healthy()
    yield backend
    backend.close()


def test_images_have_the_same_bits_as_through_plain_tensors(sharing, triton_backend):
    items = [dataclasses.replace(item, deterministic=True) for item in MIXED]
    for one, other in zip(made(sharing, items), made(triton_backend, items), strict=True):
        assert np.array_equal(one, other)


def test_requests_beyond_the_slots_carry_their_tensors(sharing, triton_backend):
    items = [
        dataclasses.replace(item, deterministic=True, seed=n) for n in range(4) for item in MIXED
    ]
    for one, other in zip(made(sharing, items), made(triton_backend, items), strict=True):
        assert np.array_equal(one, other)


def test_slots_come_back_from_cancelled_requests(sharing):
    long = dataclasses.replace(MIXED[0], steps=1000)
    for _ in range(3):
        for future in sharing.submit_all([long] * 2):
            future.cancel()
        assert sharing.is_healthy()
    assert len(sharing._connection._slots._free) == 2


def test_the_region_goes_with_the_backend(triton_server):
    settings = dataclasses.replace(triton_server.settings, shared_memory=True)
    backend = start_triton(settings, MemoryStore())
    region = SHARED / backend._connection._slots._name
    assert region.exists()
    backend.close()
    assert not region.exists()
