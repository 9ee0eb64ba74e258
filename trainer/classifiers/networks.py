"""Networks of our own: images [B, 3, H, W] to logits [B, class_count]."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import relu

_CNN4_WIDTHS = (32, 64, 64, 128)


def cnn4(class_count: int) -> nn.Module:
    """Four convolutions, each with batch norm and a halving, for sides of 16 and more."""
    layers: list[nn.Module] = []
    width = 3
    for next_width in _CNN4_WIDTHS:
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


def wide_resnet(class_count: int, *, depth: int, width: int) -> nn.Module:
    """The wide residual network of `depth` layers, `width` times as wide as the plain one."""
    widths = [16 * width, 32 * width, 64 * width]
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    last = 16
    for place, next_width in enumerate(widths):
        for number in range((depth - 4) // 6):
            stride = 2 if place and number == 0 else 1
            layers.append(_Block(last, next_width, stride))
            last = next_width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, class_count)]
    return nn.Sequential(*layers, nn.BatchNorm2d(last), nn.ReLU(inplace=True), *head)


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


NETWORKS: dict[str, Callable[..., nn.Module]] = {"cnn4": cnn4, "wide_resnet": wide_resnet}
