"""Classifier-free guidance of all samples of a U-Net call in one go."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Push(NamedTuple):
    """Moves what is predicted by `scale` of the way from one row of a sample to another."""

    scale: float
    towards: int
    away: int


class Guidance:
    """guided = first row + sum of scale * (towards - away), for each sample.

    `row_counts` are the rows of each sample, which lie together; `pushes` count them from zero.
    """

    def __init__(
        self, row_counts: Sequence[int], pushes: Sequence[Sequence[Push]], device: torch.device
    ) -> None:
        starts = [sum(row_counts[:number]) for number in range(len(row_counts))]
        self._first = torch.tensor(starts, device=device)
        self._terms: list[tuple[Tensor, Tensor, Tensor]] = []
        for place in range(max(map(len, pushes))):
            # Samples with fewer pushes are moved by nothing.
            each = [own[place] if place < len(own) else Push(0.0, 0, 0) for own in pushes]
            scales = torch.tensor([push.scale for push in each], device=device)
            towards = torch.tensor([push.towards for push in each], device=device)
            away = torch.tensor([push.away for push in each], device=device)
            shown = scales[:, None, None, None]
            self._terms.append((shown, self._first + towards, self._first + away))

    def combine(self, outputs: Tensor) -> Tensor:
        """Returns the guided output [samples, c, h, w] of the rows' outputs [rows, c, h, w]."""
        guided = outputs[self._first]
        for scale, towards, away in self._terms:
            guided = guided + scale * (outputs[towards] - outputs[away])
        return guided
