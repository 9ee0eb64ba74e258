"""Tests a classifier: predictions, accuracies, confusion, calibration."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from trainer.scores import ClassScore

_TOP, _BINS = 5, 15


@dataclass(frozen=True)
class Predictions:
    """Of each image the likeliest labels, best first, int64 [N, up to 5], and the best's
    probability, float32 [N]."""

    top: NDArray[np.int64]
    confidences: NDArray[np.float32]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The likeliest label of each, [N]."""
        return self.top[:, 0]


@torch.inference_mode()
def predict(
    model: Module,
    batches: Iterable[Tensor],
    normalised: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Predictions:
    """Predicts the labels of images, uint8 [B, H, W, 3] a batch."""
    model.eval()
    tops: list[Tensor] = []
    shares: list[Tensor] = []
    for batch in batches:
        logits = model(normalised(batch.to(device, non_blocking=True)))
        chances = logits.float().softmax(1)
        share, top = chances.topk(min(_TOP, chances.shape[1]), 1)
        tops.append(top)
        shares.append(share[:, 0])
    return Predictions(torch.cat(tops).cpu().numpy(), torch.cat(shares).float().cpu().numpy())


def scores_of(
    truth: NDArray[np.int64], predicted: Predictions, class_names: tuple[str, ...]
) -> dict[str, Any]:
    """The values of `runs.Scores` for images of these labels, [N]."""
    matrix = confusion_matrix(truth, predicted.labels, len(class_names))
    hits = (predicted.top == truth[:, None]).any(1)
    return {
        "accuracy": float(matrix.trace() / matrix.sum()),
        "classes": class_scores(matrix, class_names),
        "confusion": tuple(tuple(row) for row in matrix.tolist()),
        "test_image_count": len(truth),
        "top5_accuracy": float(hits.mean()) if len(class_names) > _TOP else None,
        "calibration_error": calibration_error(predicted.labels == truth, predicted.confidences),
    }


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


def calibration_error(is_right: NDArray[np.bool_], confidences: NDArray[np.float32]) -> float:
    """The expected calibration error, 0 to 1, over 15 bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidences.astype(np.float64) * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.bincount(bins, is_right - confidences.astype(np.float64), _BINS)
    return float(np.abs(gaps).sum() / len(confidences))
