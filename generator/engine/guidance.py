"""Classifier-free guidance."""

from torch import Tensor


def classifier_free(predictions: Tensor, scale: float) -> Tensor:
    """Returns u + scale * (c - u) for the rows (u, c), or c alone if there is one row.

    [1 or 2, c, h, w] -> [1, c, h, w].
    """
    if len(predictions) == 1:
        return predictions
    unconditional, conditional = predictions[:1], predictions[1:]
    return unconditional + scale * (conditional - unconditional)
