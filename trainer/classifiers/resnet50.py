"""ResNet-50 without pretrained weights, for images of 64 pixels and more."""

from torch import nn

from models.torchvision_cpu import declare_missing_operators

SOURCE = "BURG section 4; MVC section 4"
LEARNING_RATE = 0.001
STEP_COUNT = 20000
SMALLEST_IMAGE = 64  # pixels; it halves five times
USUAL_IMAGE = 224


def build(class_count: int) -> nn.Module:
    """The network: images [B, 3, H, W] to logits [B, class_count]."""
    declare_missing_operators()
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None, num_classes=class_count)
    return network
