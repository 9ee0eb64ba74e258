"""Wide residual network, 28 layers, width 2: the usual network for 32 x 32 images."""

from torch import Tensor, nn
from torch.nn.functional import relu

SOURCE = "MVC section 4; Zagoruyko and Komodakis, Wide Residual Networks"
LEARNING_RATE = 0.002
STEP_COUNT = 4000
SMALLEST_IMAGE = 16  # pixels
USUAL_IMAGE = 64

_DEPTH, _WIDTH = 28, 2


def build(class_count: int) -> nn.Module:
    """The network: images [B, 3, H, W] to logits [B, class_count]."""
    widths = [16 * _WIDTH, 32 * _WIDTH, 64 * _WIDTH]
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    width = 16
    for place, next_width in enumerate(widths):
        for number in range((_DEPTH - 4) // 6):
            stride = 2 if place and number == 0 else 1
            layers.append(_Block(width, next_width, stride))
            width = next_width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, class_count)]
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(inplace=True), *head)


class _Block(nn.Module):
    """Two convolutions, each after batch norm and ReLU, around a shortcut."""

    def __init__(self, width: int, next_width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, next_width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(next_width)
        self.conv2 = nn.Conv2d(next_width, next_width, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if width != next_width or stride != 1:
            self.shortcut = nn.Conv2d(width, next_width, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        active = relu(self.norm1(images))
        kept = images if self.shortcut is None else self.shortcut(active)
        changed: Tensor = self.conv2(relu(self.norm2(self.conv1(active))))
        return changed + kept
