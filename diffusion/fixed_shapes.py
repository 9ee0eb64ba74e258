"""Calls of a fixed shape: what runs beside a row must not change its bits."""

from collections.abc import Callable

import torch
from torch import Tensor

# Encoders always run in calls of this many rows: what they give is then bit-identical everywhere,
# and they are a small share of the work.
ENCODER_ROWS = 4


def in_chunks(
    call: Callable[..., Tensor], inputs: tuple[Tensor | None, ...], size: int, *, pad: bool
) -> Tensor:
    """Applies `call` to at most `size` rows at a time and concatenates the results.

    With `pad` every call has exactly `size` rows, filled up with copies of the first. At one shape
    a row's result does not depend on its position or neighbours.
    """
    count = next(len(tensor) for tensor in inputs if tensor is not None)
    results = []
    for start in range(0, count, size):
        rows = min(size, count - start)
        chunk = [None if t is None else t[start : start + rows] for t in inputs]
        if pad and rows < size:
            chunk = [None if t is None else _padded(t, size) for t in chunk]
        results.append(call(*chunk)[:rows])
    return results[0] if len(results) == 1 else torch.cat(results)


def _padded(tensor: Tensor, size: int) -> Tensor:
    filler = tensor[:1].expand(size - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor, filler])
