"""How the validations of a run went, as a module: what checkpoints keep, when it stops, its best.

All that is decided follows from the accuracies so far, which are those of all processes together:
so all of them decide alike, and a run that was interrupted decides as it would have.
"""

from math import nan

import torch
from torch import Tensor, nn

from trainer.schedules import Plateau


class Course(nn.Module):
    """A network, its validation accuracies by epoch, and a copy of it at its best.

    Epoch 0 is the network before any step; it is measured, and never chosen. Without `keeps_best`
    there is no copy.
    """

    accuracies: Tensor

    def __init__(
        self, network: nn.Module, epoch_count: int, plateau: Plateau | None, *, keeps_best: bool
    ) -> None:
        super().__init__()
        self.network = network
        self._plateau = plateau
        self._keeps_best = keeps_best
        self.register_buffer("accuracies", torch.full((epoch_count + 1,), nan).double())
        for number, tensor in enumerate(network.state_dict().values() if keeps_best else ()):
            self.register_buffer(f"best_{number}", tensor.detach().clone())

    @property
    def epoch(self) -> int:
        """The epochs done; -1 before the network itself was measured."""
        return int((~self.accuracies.isnan()).sum()) - 1

    @property
    def latest(self) -> float:
        """The accuracy of the latest epoch."""
        return float(self.accuracies[self.epoch])

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest accuracy, the first of several; 0 before the first ended."""
        return int(self._of_epochs().argmax()) + 1 if self.epoch > 0 else 0

    @property
    def factor(self) -> float:
        """The share of the peak learning rate at which the next step is done."""
        return self._plateau.factor(self._of_epochs().tolist()) if self._plateau else 1.0

    @property
    def is_done(self) -> bool:
        """Whether the schedule ends the run here."""
        return self._plateau is not None and self._plateau.is_done(self._of_epochs().tolist())

    @torch.no_grad()
    def end_epoch(self, accuracy: float) -> None:
        """Notes the accuracy of an epoch that is over, and keeps the network if it is the best."""
        self.accuracies[self.epoch + 1] = accuracy
        if self._keeps_best and self.epoch == self.best_epoch:
            for number, tensor in enumerate(self.network.state_dict().values()):
                self.get_buffer(f"best_{number}").copy_(tensor)

    @torch.no_grad()
    def choose_best(self) -> None:
        """Makes the network what it was at its best."""
        for number, tensor in enumerate(self.network.state_dict().values()):
            tensor.copy_(self.get_buffer(f"best_{number}"))

    def _of_epochs(self) -> Tensor:
        return self.accuracies[1 : self.epoch + 1]
