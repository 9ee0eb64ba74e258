"""A random part of the whole picture, from a quarter of it on, and a random flip."""

from torch.nn import Module
from torchvision.transforms import v2

SOURCE = "Szegedy et al., Going Deeper with Convolutions (from 8 % on)"
WHOLE_FROM = 0


def create(size: int) -> Module:
    """The transform for images of this size."""
    crop = v2.RandomResizedCrop(size, scale=(0.25, 1.0), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip()])
