"""AutoAugment with the policy found on CIFAR-10, after the standard policy."""

from torch.nn import Module
from torchvision.transforms import v2

from trainer.policies import standard

SOURCE = "MVC section 4; Cubuk et al., AutoAugment"
WHOLE_FROM = 128  # as the standard policy


def create(size: int) -> Module:
    """The transform for images of this size."""
    return v2.Compose([standard.create(size), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)])
