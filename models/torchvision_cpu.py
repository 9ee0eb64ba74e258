"""Lets torchvision's CUDA wheel import beside a CPU build of torch.

The wheel's compiled operators need CUDA libraries. Without them `import torchvision` fails with
"operator torchvision::nms does not exist", although transforms and models need no compiled
operator. Declaring the two operator schemas is enough; detection operators stay unavailable.
"""

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library lives as long as its reference


def declare_missing_operators() -> None:
    """Declares torchvision's `nms` and `qnms` schemas once, on CPU builds of torch only.

    Call it before the first import of torchvision, open_clip or timm. Calling it again, or where
    the operators exist, does nothing.
    """
    if torch.version.cuda is not None or _declared:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)
