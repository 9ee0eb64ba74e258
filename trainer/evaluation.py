"""Tests a classifier: predictions, accuracy by class, confusion."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from trainer.runs import ClassScore


@torch.inference_mode()
def predict(
    model: Module,
    batches: Iterable[Tensor],
    normalised: Callable[[Tensor], Tensor],
    device: torch.device,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most likely label [N] of each image, uint8 [B, H, W, 3] a batch, and its probability."""
    model.eval()
    best = [
        model(normalised(batch.to(device, non_blocking=True))).softmax(1).max(1)
        for batch in batches
    ]
    labels = torch.cat([label for _, label in best]).cpu().numpy()
    return labels, torch.cat([share for share, _ in best]).float().cpu().numpy()


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], class_count: int
) -> NDArray[np.int64]:
    """How often class i was taken for class j, [classes, classes]."""
    matrix = np.zeros((class_count, class_count), np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def class_scores(matrix: NDArray[np.int64], class_names: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """The score of each class by a confusion matrix."""
    totals = matrix.sum(1)
    return tuple(
        ClassScore(name, float(right / total) if total else None, int(total))
        for name, right, total in zip(class_names, matrix.diagonal(), totals, strict=True)
    )
