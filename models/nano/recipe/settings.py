"""Where the recipe reads and writes, on which device, and how long each stage may take."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
NANO = Path(__file__).resolve().parent.parent

# Minutes per stage. CPU: one core each, two stages side by side. GPU: one large one.
BUDGETS: dict[str, dict[str, float]] = {
    "cpu": {
        "clip": 16,
        "vae": 8,
        "text": 34,
        "clip_image": 19,
        "image_encoder": 11,
        "captioner": 30,
        "judge": 15,
        "unclip": 13,
        "pix2pix": 14,
    },
    "gpu": {
        "clip": 3,
        "vae": 5,
        "text": 12,
        "image_encoder": 3,
        "clip_image": 3,
        "captioner": 4,
        "judge": 2,
        "unclip": 6,
        "pix2pix": 6,
    },
}


@dataclass(frozen=True)
class Workshop:
    """The folders and the device of one run of the recipe."""

    models: Path
    work: Path
    device: torch.device
    untrained: bool = False

    def checkpoint(self, stage: str) -> Path:
        """The file a stage resumes from."""
        return self.work / ("untrained" if self.untrained else "") / f"{stage}.pt"

    def batch(self, size: int) -> int:
        """The batch size on this device: a GPU takes four times as many."""
        return size * 4 if self.device.type == "cuda" else size


def workshop(device: str | None = None, *, untrained: bool = False) -> Workshop:
    """The default folders, on CUDA when there is one."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Workshop(NANO, NANO / ".work", torch.device(name), untrained)


def save_float16(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes float16 safetensors (integers stay); the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in tensors.items()
    }
    partial = path.with_suffix(".partial")
    save_file(halves, partial, metadata={"format": "pt"})
    partial.replace(path)


def save_model(model: Any, folder: Path) -> None:
    """Saves a diffusers or transformers model in float16; the live model stays float32."""
    half = copy.deepcopy(model).to("cpu", torch.float16)
    for parameter in half.parameters():
        parameter.data = parameter.data.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    half.save_pretrained(folder)
    config = folder / "config.json"
    values = json.loads(config.read_text())
    values.pop("_name_or_path", None)  # a path of this machine
    if "dtype" in values:  # transformers would load float16 by default, which CPUs are slow at
        values["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def place(module: Module, device: torch.device) -> Module:
    """Moves a convolutional module to the device, channels last: faster on both kinds."""
    anything: Any = module
    anything.to(device=device, memory_format=torch.channels_last)
    return module
