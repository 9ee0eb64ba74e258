"""RandAugment: two random changes of shape or colour an image, after the standard policy."""

from torch.nn import Module
from torchvision.transforms import v2

from trainer.policies import standard

SOURCE = "MVC section 4; Cubuk et al., RandAugment"
WHOLE_FROM = 128  # as the standard policy


def create(size: int) -> Module:
    """The transform for images of this size."""
    return v2.Compose([standard.create(size), v2.RandAugment()])
