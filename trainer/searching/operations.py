"""What a policy may do to an image: the operations of Fast AutoAugment, by id.

Each takes uint8 [3, H, W] and a magnitude from 0 to 1, over the ranges of the paper's table, and
draws from torch's default generator. Those of shape go either way.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from models.torchvision_cpu import declare_missing_operators

declare_missing_operators()
from torchvision.transforms.v2 import functional as F  # noqa: E402

Operation = Callable[[Tensor, float], Tensor]

_GREY = [125.0, 123.0, 114.0]
_LARGEST_HOLE = 0.2  # of the image's side


def _either_way(value: float) -> float:
    return value if torch.rand(()).item() < 0.5 else -value


def _moved(image: Tensor, **values: object) -> Tensor:
    given = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | values
    moved: Tensor = F.affine(image, **given)  # type: ignore[arg-type]
    return moved


def _shear(horizontal: bool) -> Operation:
    def operation(image: Tensor, magnitude: float) -> Tensor:
        angle = float(torch.rad2deg(torch.atan(torch.tensor(_either_way(0.3 * magnitude)))))
        return _moved(image, shear=[angle, 0.0] if horizontal else [0.0, angle])

    return operation


def _translate(horizontal: bool) -> Operation:
    def operation(image: Tensor, magnitude: float) -> Tensor:
        side = image.shape[2] if horizontal else image.shape[1]
        pixels = round(_either_way(0.45 * magnitude) * side)
        return _moved(image, translate=[pixels, 0] if horizontal else [0, pixels])

    return operation


def _cutout(image: Tensor, magnitude: float) -> Tensor:
    height, width = image.shape[1:]
    half = _LARGEST_HOLE * magnitude * width / 2
    row, column = (torch.rand(2) * torch.tensor([height, width])).tolist()
    top, bottom = max(0, round(row - half)), min(height, round(row + half))
    left, right = max(0, round(column - half)), min(width, round(column + half))
    holed = image.clone()
    holed[:, top:bottom, left:right] = torch.tensor(_GREY).to(image.dtype).view(3, 1, 1)
    return holed


OPERATIONS: Mapping[str, Operation] = {
    "auto_contrast": lambda image, magnitude: F.autocontrast(image),
    "brightness": lambda image, magnitude: F.adjust_brightness(image, 0.1 + 1.8 * magnitude),
    "color": lambda image, magnitude: F.adjust_saturation(image, 0.1 + 1.8 * magnitude),
    "contrast": lambda image, magnitude: F.adjust_contrast(image, 0.1 + 1.8 * magnitude),
    "cutout": _cutout,
    "equalize": lambda image, magnitude: F.equalize(image),
    "invert": lambda image, magnitude: F.invert(image),
    "posterize": lambda image, magnitude: F.posterize(image, 4 + round(4 * magnitude)),
    "rotate": lambda image, magnitude: F.rotate(image, _either_way(30 * magnitude)),
    "sharpness": lambda image, magnitude: F.adjust_sharpness(image, 0.1 + 1.8 * magnitude),
    "shear_x": _shear(horizontal=True),
    "shear_y": _shear(horizontal=False),
    "solarize": lambda image, magnitude: F.solarize(image, 255.0 * magnitude),
    "translate_x": _translate(horizontal=True),
    "translate_y": _translate(horizontal=False),
}
NAMES = tuple(OPERATIONS)
