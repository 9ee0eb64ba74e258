"""Mixing Visual Concepts: a new text embedding out of those of several captions.

MVC, Algorithm 1, lines 4 to 15. Which captions, rows and columns are taken is drawn by whoever asks
(lines 4, 6, 7, 11, 12 and 13), and said in numbers, so that no embedding has to travel. Line 16,
the null text for classifier-free guidance, is the engine's: it adds it to every item.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class CaptionMix:
    """A mix of the embeddings [m, d] of some captions, which are numbered from 0.

    It begins as that of caption `start`. Each of `coarse`, (source, first, end), takes the rows
    first to end - 1 of the caption `source`; then each of `fine`, (source, row, first, end), takes
    the features first to end - 1 of one row. Slices are not empty.
    """

    captions: tuple[str, ...]
    start: int
    coarse: tuple[tuple[int, int, int], ...] = ()
    fine: tuple[tuple[int, int, int, int], ...] = ()

    def of(self, matrices: Sequence[Tensor]) -> Tensor:
        """Returns the mix [m, d] of the captions' matrices [m, d]."""
        mixed = matrices[self.start].clone()
        for source, first, end in self.coarse:
            mixed[first:end] = matrices[source][first:end]
        for source, row, first, end in self.fine:
            mixed[row, first:end] = matrices[source][row, first:end]
        return mixed

    def problem(self, shape: tuple[int, int]) -> str:
        """Says what cannot be done with matrices of a shape; "" if all can."""
        rows, width = shape
        numbers = [self.start, *(edit[0] for edit in (*self.coarse, *self.fine))]
        if not all(0 <= number < len(self.captions) for number in numbers):
            return f"it takes from caption {max(numbers)} of {len(self.captions)}, from 0"
        for _, first, end in self.coarse:
            if not 0 <= first < end <= rows:
                return f"it takes the rows {first} to {end} (exclusive) of {rows}"
        for _, row, first, end in self.fine:
            if not (0 <= row < rows and 0 <= first < end <= width):
                return (
                    f"it takes the features {first} to {end} (exclusive) of row {row}, of "
                    f"{rows} rows of {width}"
                )
        return ""

    def identity(self) -> dict[str, Any]:
        """Returns what determines the mix, for the key of an image."""
        return {"mix": asdict(self)}
