"""Fast AutoAugment: two changes an image, searched for on the run's own data; after standard."""

import torch
from torch import Tensor
from torch.nn import Module, Sequential

from trainer.policies import standard
from trainer.searching.found import SubPolicy
from trainer.searching.operations import OPERATIONS

SOURCE = "MVC section 4; Lim et al., Fast AutoAugment"
WHOLE_FROM = 128  # as the standard policy
NEEDS_SEARCH = True


class SubPolicies(Module):
    """Changes each image by one of the sub-policies, whichever comes."""

    def __init__(self, found: tuple[SubPolicy, ...]) -> None:
        super().__init__()
        self._found = found

    def forward(self, image: Tensor) -> Tensor:
        """Takes and returns uint8 [3, size, size]."""
        for change in self._found[int(torch.randint(len(self._found), ()))]:
            if torch.rand(()).item() < change.probability:
                image = OPERATIONS[change.operation](image, change.magnitude)
        return image


def create(size: int, found: tuple[SubPolicy, ...]) -> Module:
    """The transform for images of this size, with what a search found."""
    return Sequential(standard.create(size), SubPolicies(found))
