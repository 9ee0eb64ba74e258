"""In which numbers a classifier computes: its weights are float32, its layers may be bfloat16."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from servicekit.devices import kind_of_device

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def resolved(precision: str, device: str) -> str:
    """The precision of a setting, on the device of another: "auto" is for GPUs that have bfloat16.

    A GPU that emulates it would be slower. What is asked for by name is done, on processors too.
    """
    if precision != "auto":
        return precision
    if kind_of_device(device, "TRAINER_DEVICE") != "cuda":
        return "float32"
    import torch

    has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_it else "float32"


def autocast(precision: str, device: "torch.device") -> AbstractContextManager[None]:
    """Has what is computed inside be of this precision where that is safe; losses are not."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
