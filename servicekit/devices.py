"""Where a model runs: the setting, and the device that is there."""

from typing import TYPE_CHECKING

from servicekit.errors import Precondition
from servicekit.settings import Limits

if TYPE_CHECKING:
    import torch

DEVICES = Limits(form=r"auto|cpu|cuda(:\d+)?", words="auto, cpu, cuda, or cuda:0, cuda:1 and so on")
MEANING = "Where it computes: cpu, cuda, cuda:1 and so on; auto takes a GPU where there is one."


def find_device(name: str, key: str) -> "torch.device":
    """Returns the device of a setting `key`; "auto" is CUDA if there is one.

    Raises Precondition if this machine, or this build of torch, does not have it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Precondition(
            f"{key} is {name!r}, and {_what_there_is(torch)}; set it to cpu or auto",
            subject=key,
            reason="NO_SUCH_DEVICE",
        )
    return device


def kind_of_device(name: str, key: str) -> str:
    """Returns the kind of a setting's device, "cpu" or "cuda". Imports torch for "auto" only."""
    return find_device(name, key).type if name == "auto" else name.partition(":")[0]


def _what_there_is(torch: "torch") -> str:  # type: ignore[valid-type]
    count = torch.cuda.device_count()  # type: ignore[attr-defined]
    if count:
        return f"this machine has {count} CUDA device{'s'[: count > 1]}, counted from 0"
    version = torch.__version__  # type: ignore[attr-defined]
    return f"torch {version} finds no CUDA device here"
