"""How many rows a call may have on a device whose memory is limited: learned, and unlearned."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from diffusion.fixed_shapes import in_chunks

# Calls that fit, one after the other, before a larger one is tried again; twice as many each time
# that this was in vain.
_FIRST_TRIAL, _LAST_TRIAL = 64, 4096
_log = logging.getLogger(__name__)


class RowLimit:
    """The most rows of one kind of call. Not thread-safe: the engine's worker owns it."""

    def __init__(self, most: int, doing: str) -> None:
        self._most, self._doing = most, doing
        self.rows = most
        self._patience = _FIRST_TRIAL
        self._fitting = 0
        self._is_trial = False

    def apply(self, call: Callable[..., Tensor], inputs: tuple[Tensor | None, ...]) -> Tensor:
        """Applies `call` to all rows, in parts where the memory does not hold more.

        Raises torch.OutOfMemoryError if it does not even hold one row.
        """
        count = next(len(tensor) for tensor in inputs if tensor is not None)
        while True:
            tried = min(self.rows, count)
            try:
                result = in_chunks(call, inputs, tried, pad=False)
            except torch.OutOfMemoryError as error:
                why = str(error)
            else:
                self._fitted(count)
                return result
            # Not inside `except`: there the error's traceback keeps the tensors of the failed call.
            if tried == 1:
                raise torch.OutOfMemoryError(why)
            self._halve(tried)

    def _fitted(self, count: int) -> None:
        """Allows twice as many rows when calls that wanted more have fitted for long enough."""
        if count <= self.rows:
            return
        self._fitting += 1
        if self._fitting >= self._patience:
            self._fitting, self._is_trial = 0, True
            self.rows = min(self.rows * 2, self._most)

    def _halve(self, tried: int) -> None:
        if self._is_trial:
            self._patience = min(self._patience * 2, _LAST_TRIAL)
        self.rows, self._fitting, self._is_trial = tried // 2, 0, False
        _log.warning(
            "out of memory while %s %d rows; trying again with %d a call",
            self._doing,
            tried,
            self.rows,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
