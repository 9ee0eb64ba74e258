"""Likeness of image and text: the cosine of their CLIP embeddings."""

from collections.abc import Sequence

import numpy as np

from retriever.embedder import Embedder
from retriever.screening.base import Finding, Policy, Subject


class ClipScoreCheck:
    """Scores every image that has a text; rejects only below `min_clip_score`, if that is set."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def judge(self, subjects: Sequence[Subject], policy: Policy) -> list[Finding]:
        asked = [index for index, subject in enumerate(subjects) if subject.text]
        findings = [Finding()] * len(subjects)
        if not asked:
            return findings
        images = await self._embedder.embed_images([subjects[index].image for index in asked])
        # Candidates are made for few texts: each is embedded once.
        wanted = [subjects[index].text for index in asked]
        places = {text: place for place, text in enumerate(dict.fromkeys(wanted))}
        each = await self._embedder.embed_texts(list(places))
        texts = each[[places[text] for text in wanted]]
        scores = np.clip((images * texts).sum(axis=1), -1.0, 1.0)
        for index, score in zip(asked, scores.tolist(), strict=True):
            findings[index] = _finding(score, policy.min_clip_score)
        return findings


def _finding(score: float, lowest: float | None) -> Finding:
    rejected = lowest is not None and score < lowest
    return Finding(clip_score=score, reasons=("LOW_CLIP_SCORE",) if rejected else ())
