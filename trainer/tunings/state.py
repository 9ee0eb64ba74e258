"""What a tuning has learned so far, as a module: what checkpoints keep, and when to stop."""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import torch
from torch import Tensor, nn
from torch.nn import Parameter

VALIDATION, TRAIN = "validation", "train"
_FIRST_EPOCHS = 3
# Of more than so many numbers only the best are kept: a copy of a U-Net takes gigabytes.
_MANY = 4_000_000


class State(nn.Module):
    """What is learned, copies of what it was at its best, and the losses of the epochs so far.

    Epoch 0 is the model before. With few numbers it also keeps what was learned at the lowest
    training loss and after the first three epochs (BURG, appendix).
    """

    validation_losses: Tensor
    train_losses: Tensor
    epoch_loss: Tensor

    def __init__(self, tensors: Sequence[Parameter], epoch_count: int, patience: int) -> None:
        super().__init__()
        self.tensors = nn.ParameterList(tensors)
        self._patience = patience
        self.register_buffer("validation_losses", torch.full((epoch_count + 1,), nan).double())
        self.register_buffer("train_losses", torch.full((epoch_count + 1,), nan).double())
        self.register_buffer("epoch_loss", torch.zeros((), device=tensors[0].device))
        names = [VALIDATION]
        if sum(tensor.numel() for tensor in tensors) <= _MANY:
            first = range(1, min(_FIRST_EPOCHS, epoch_count) + 1)
            names += [TRAIN, *(f"epoch_{epoch}" for epoch in first)]
        self._names = names
        for name in names:
            for number, tensor in enumerate(tensors):
                self.register_buffer(f"{name}_{number}", tensor.detach().clone())

    @property
    def epoch(self) -> int:
        """The epochs done; -1 before the model itself was measured."""
        return int((~self.validation_losses.isnan()).sum()) - 1

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, the first of several."""
        return _lowest(self.validation_losses[: self.epoch + 1])

    @property
    def is_stale(self) -> bool:
        """Whether so many epochs brought no lower validation loss as patience has."""
        return self.epoch - self.best_epoch >= self._patience

    def end_epoch(self, train_loss: float, validation_loss: float) -> None:
        """Notes the losses of an epoch that is over, and keeps what is worth it.

        A validation loss that is not a number is noted as infinite.
        """
        epoch = self.epoch + 1
        is_number = not isnan(validation_loss)
        self.validation_losses[epoch] = validation_loss if is_number else torch.inf
        self.train_losses[epoch] = train_loss
        self.epoch_loss.zero_()
        if self.best_epoch == epoch:
            self._keep(VALIDATION)
        if epoch and _lowest(self.train_losses[1 : epoch + 1]) + 1 == epoch:
            self._keep(TRAIN)
        self._keep(f"epoch_{epoch}")

    def kept(self) -> Mapping[str, Sequence[Tensor]]:
        """Returns what is kept by now, by its name."""
        done = {VALIDATION, TRAIN, *(f"epoch_{epoch}" for epoch in range(1, self.epoch + 1))}
        return {name: self._copies(name) for name in self._names if name in done}

    def _keep(self, name: str) -> None:
        if name in self._names:
            for copy, tensor in zip(self._copies(name), self.tensors, strict=True):
                copy.copy_(tensor.detach())

    def _copies(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}_{number}") for number in range(len(self.tensors))]


def _lowest(losses: Tensor) -> int:
    return int(losses.nan_to_num(nan=torch.inf).argmin()) if len(losses) else 0
