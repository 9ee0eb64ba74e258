"""What a device's memory holds is learned from its errors, and forgotten when it holds more."""

import gc
import weakref

import pytest
import torch

from diffusion.row_limit import RowLimit


class Device:
    """A call that runs out of memory with more than `room` rows."""

    def __init__(self, room):
        self.room, self.sizes, self.kept = room, [], []

    def __call__(self, rows):
        self.sizes.append(len(rows))
        activations = torch.zeros(1)
        self.kept.append(weakref.ref(activations))
        if len(rows) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return rows * 2


def apply(limit, device, count):
    rows = torch.arange(count).float()[:, None]
    assert torch.equal(limit.apply(device, (rows,)), rows * 2)


def test_rows_are_halved_until_they_fit_and_later_calls_begin_with_that():
    device, limit = Device(3), RowLimit(4096, "testing")
    apply(limit, device, 10)
    assert device.sizes == [10, 5, 2, 2, 2, 2, 2]
    device.sizes.clear()
    apply(limit, device, 10)
    assert device.sizes == [2] * 5


def test_memory_that_is_free_again_is_used_again():
    device, limit = Device(2), RowLimit(8, "testing")
    apply(limit, device, 8)
    device.room = 8
    for _ in range(3 * 64):
        apply(limit, device, 8)
    device.sizes.clear()
    apply(limit, device, 8)
    assert device.sizes == [8]


def test_what_is_tried_in_vain_is_tried_more_and_more_rarely():
    device, limit = Device(2), RowLimit(8, "testing")
    for _ in range(4000):
        apply(limit, device, 8)
    failed = [size for size in device.sizes if size > 2]
    assert 4 <= len(failed) <= 9


def test_what_failed_holds_no_memory_while_it_is_tried_again():
    device, limit = Device(2), RowLimit(8, "testing")
    alive = []

    def watched(rows):
        gc.disable()  # Only what nobody refers to may be gone.
        alive.append(sum(ref() is not None for ref in device.kept))
        return device(rows)

    try:
        apply(limit, watched, 8)
    finally:
        gc.enable()
    assert alive == [0] * len(alive)


def test_memory_that_does_not_hold_one_row_is_an_error():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        apply(RowLimit(8, "testing"), Device(0), 8)
