"""System shared memory between the front and a Triton on the same host.

Answers travel as plain tensors: a request that its caller gave up may still be answered by Triton,
and must not write where another one reads.
"""

import math
import os
import threading
import uuid
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import shared_memory

from diffusion.card import ModelCard

_ALIGNMENT = 64
_SECONDS = 5.0
# What is words of an item, and the names and shapes of its arrays.
_WORDS = 1 << 14


class Slots:
    """A region of equal slots, one for each request under way. Thread-safe."""

    def __init__(self, count: int, size: int) -> None:
        self._size = -(-size // _ALIGNMENT) * _ALIGNMENT
        self._name = f"variegate-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._total = self._size * count
        self._region = shared_memory.create_shared_memory_region(
            self._name, self._name, self._total, create_only=True
        )
        self._free = list(range(count))
        self._lock = threading.Lock()

    def register(self, client: triton.InferenceServerClient) -> None:
        """Makes the region known to a server, which forgets it when it ends."""
        client.unregister_system_shared_memory(self._name, client_timeout=_SECONDS)
        client.register_system_shared_memory(
            self._name, f"/{self._name}", self._total, client_timeout=_SECONDS
        )

    def borrow(self, size: int) -> int | None:
        """Returns a free slot for so many bytes, or None: the request then carries them itself."""
        if size > self._size:
            return None
        with self._lock:
            return self._free.pop() if self._free else None

    def give_back(self, slot: int) -> None:
        """Lets another request have the slot."""
        with self._lock:
            self._free.append(slot)

    def fill(self, slot: int, tensors: list[tuple[triton.InferInput, NDArray[Any]]]) -> None:
        """Writes the arrays into the slot and points the inputs at them."""
        offset = slot * self._size
        for tensor, values in tensors:
            values = np.ascontiguousarray(values)
            shared_memory.set_shared_memory_region(self._region, [values], offset)
            tensor.set_shared_memory(self._name, values.nbytes, offset)
            offset += -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT

    def close(self) -> None:
        """Removes the region. A server that has it mapped keeps its pages until it ends."""
        shared_memory.destroy_shared_memory_region(self._region)


def slot_size(card: ModelCard) -> int:
    """Returns the bytes that an item of this model takes, with one image; most take less.

    What takes more is carried by its request itself.
    """
    text = sum(math.prod(shape) for shape in card.text_shapes.values())
    floats = 2 * text + max(card.image_dimension, 1)
    return floats * 4 + card.width * card.height * 3 + _WORDS
