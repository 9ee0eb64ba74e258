"""Random flip and crop: of the image padded by an eighth; from 128 pixels on a resized part."""

from torch.nn import Module
from torchvision.transforms import v2

SOURCE = "He et al., Deep Residual Learning (CIFAR-10, ImageNet)"
WHOLE_FROM = 128  # ours: the sizes between those of CIFAR-10 and of ImageNet

_PADDING = 8  # the image's side divided by this


def create(size: int) -> Module:
    """The transform for images of this size."""
    if size >= WHOLE_FROM:
        crop: Module = v2.RandomResizedCrop(size, antialias=True)  # from 8 % of the picture on
    else:
        crop = v2.RandomCrop(size, padding=max(1, size // _PADDING))
    return v2.Compose([crop, v2.RandomHorizontalFlip()])
