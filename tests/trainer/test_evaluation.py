"""Scores of predictions, on values."""

import numpy as np
import pytest
import torch

from trainer.evaluation import Predictions, calibration_error, predict, scores_of

SEVEN = tuple("abcdefg")


def test_predictions_are_the_likeliest_labels_best_first():
    logits = torch.tensor([[0.0, 3.0, 1.0], [9.0, 0.0, 1.0]])
    model = torch.nn.Identity()
    found = predict(model, [logits[:1], logits[1:]], lambda batch: batch, torch.device("cpu"))
    assert found.top.tolist() == [[1, 2, 0], [0, 2, 1]] and found.labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidences, logits.softmax(1).max(1).values)


def test_the_five_likeliest_count_where_there_are_more_classes():
    top = np.array([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [6, 5, 4, 3, 2]])
    predicted = Predictions(top, np.full(4, 0.9, np.float32))
    scores = scores_of(np.array([0, 4, 5, 6]), predicted, SEVEN)
    assert (scores["accuracy"], scores["top5_accuracy"]) == (0.5, 0.75)
    few = Predictions(top[:, :3] % 3, np.full(4, 0.9, np.float32))
    assert scores_of(np.zeros(4, np.int64), few, SEVEN[:3])["top5_accuracy"] is None


def test_calibration_error_is_the_distance_of_confidence_and_accuracy_bin_by_bin():
    # Of ten at 0.9 nine are right: no error. Of ten at 0.6 one is: half an error, for half of them.
    confidences = np.array([0.9] * 10 + [0.6] * 10, np.float32)
    is_right = np.array([True] * 9 + [False] + [True] + [False] * 9)
    assert calibration_error(is_right, confidences) == pytest.approx(0.25, abs=1e-6)
    # Too sure in one bin does not make up for too unsure in another.
    is_right = np.array([True] * 10 + [False] * 10)
    error = calibration_error(is_right, confidences)
    assert error == pytest.approx((0.1 + 0.6) / 2, abs=1e-6)
    assert calibration_error(np.ones(3, np.bool_), np.ones(3, np.float32)) == 0
