"""Four convolutions with batch norm: small enough for seconds on a processor."""

from torch import nn

SOURCE = ""
LEARNING_RATE = 0.004
STEP_COUNT = 300
SMALLEST_IMAGE = 16  # pixels; four halvings leave one
USUAL_IMAGE = 64

_WIDTHS = (32, 64, 64, 128)


def build(class_count: int) -> nn.Module:
    """The network: images [B, 3, H, W] to logits [B, class_count], for sides of 16 and more."""
    layers: list[nn.Module] = []
    width = 3
    for next_width in _WIDTHS:
        layers += [
            nn.Conv2d(width, next_width, 3, padding=1, bias=False),
            nn.MaxPool2d(2),  # before the norm, which then costs a quarter
            nn.BatchNorm2d(next_width),
            nn.ReLU(inplace=True),
        ]
        width = next_width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, class_count)
    )
