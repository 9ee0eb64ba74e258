"""The judge: an independent classifier, for evaluation only; no other model learns from it."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.nano.recipe.photos import Photos, as_floats, jitter
from models.nano.recipe.settings import Workshop, place, save_float16
from models.nano.recipe.training import Schedule, Trace, Trainer

WIDTH = 32


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[n, width, h, w] -> the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


class Judge(nn.Module):
    """A ten-layer residual network in the manner of DAWNBench's CIFAR-10 entries."""

    def __init__(self, classes: int = 10, width: int = WIDTH) -> None:
        super().__init__()
        w = width
        self.trunk = nn.Sequential(
            _convolution(3, w),
            nn.MaxPool2d(2),
            _convolution(w, 2 * w),
            _Residual(2 * w),
            nn.MaxPool2d(2),
            _convolution(2 * w, 4 * w),
            _Residual(4 * w),
            nn.MaxPool2d(2),
            _convolution(4 * w, 6 * w),
            _Residual(6 * w),
        )
        self.head = nn.Linear(6 * w, classes)

    def features(self, images: Tensor) -> Tensor:
        """[n, 3, 32, 32] in [-1, 1] -> [n, 6 width], the mean over positions."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.trunk(images).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """[n, 3, 32, 32] in [-1, 1] -> class logits [n, classes]."""
        return self.head(self.features(images))  # type: ignore[no-any-return]


def train(workshop: Workshop, photos: Photos, minutes: float) -> Trace:
    """Trains on pool photographs and their labels; writes `judge/`."""
    torch.manual_seed(0)
    judge = Judge(len(photos.names))
    place(judge, workshop.device)
    schedule = Schedule(
        minutes,
        batch_size=workshop.batch(128),
        learning_rate=3e-3,
        weight_decay=0.05,
        ema_decay=0.99,
    )
    trainer = Trainer(judge, schedule, workshop.checkpoint("judge"))

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(photos.images), (schedule.batch_size,), generator=generator)
        images = as_floats(jitter(photos.images[rows], generator)).to(workshop.device)
        logits = judge(images)
        labels = photos.labels[rows].to(workshop.device)
        return nn.functional.cross_entropy(logits.float(), labels, label_smoothing=0.1)

    judge.train()
    trace = trainer.run(loss_of)
    folder = workshop.models / "judge"
    save_float16(judge.state_dict(), folder / "model.safetensors")
    config = {"classes": list(photos.names), "width": WIDTH, "features": 6 * WIDTH}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return trace


def load(folder: Path) -> Judge:
    """Loads the judge of `folder` (the nano folder), ready to classify."""
    config = json.loads((folder / "judge" / "config.json").read_text())
    judge = Judge(len(config["classes"]), config["width"])
    judge.load_state_dict(load_file(folder / "judge" / "model.safetensors"))
    return judge.float().eval().requires_grad_(False)
