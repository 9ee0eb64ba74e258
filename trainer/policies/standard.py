"""Random horizontal flip and random crop of the image padded by an eighth."""

from torch.nn import Module
from torchvision.transforms import v2

SOURCE = ""

_PADDING = 8  # the image's side divided by this


def create(size: int) -> Module:
    """The transform for images of this size."""
    margin = max(1, size // _PADDING)
    return v2.Compose([v2.RandomCrop(size, padding=margin), v2.RandomHorizontalFlip()])
