"""Puts the checks' findings together into one verdict per image."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from imaging.hashing import perceptual_hash, pixel_sha256
from retriever.images import try_image
from retriever.screening.base import Check, Finding, Policy, Subject
from servicekit.storage import ObjectStore, to_key
from servicekit.together import together


@dataclass(frozen=True)
class Candidate:
    """An image to judge, and the text that it should show (empty: none)."""

    image_uri: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """All findings about one image. `subject` is None if the image could not be read."""

    subject: Subject | None
    finding: Finding

    @property
    def accepted(self) -> bool:
        return not self.finding.reasons


class Screener:
    """Runs every check of the registry on every image that can be read."""

    def __init__(self, store: ObjectStore, checks: Mapping[str, Check]) -> None:
        self._store, self._checks = store, dict(checks)

    async def screen(self, candidates: Sequence[Candidate], policy: Policy) -> list[Verdict]:
        """Returns one verdict per candidate, in order."""
        for index, candidate in enumerate(candidates):
            to_key(candidate.image_uri, f"candidates[{index}].image_uri")
        read = await asyncio.to_thread(lambda: [self._read(one) for one in candidates])
        subjects = [subject for subject in read if subject is not None]
        by_check = await together(check.judge(subjects, policy) for check in self._checks.values())
        found = iter([_merge(findings) for findings in zip(*by_check, strict=True)])
        unreadable = Finding(reasons=("UNREADABLE",))
        return [Verdict(one, next(found) if one is not None else unreadable) for one in read]

    def _read(self, candidate: Candidate) -> Subject | None:
        stored = try_image(self._store, candidate.image_uri)
        if stored is None:
            return None
        return Subject(
            image_uri=candidate.image_uri,
            image=stored.image,
            text=candidate.text,
            pixel_sha256=pixel_sha256(stored.image),
            perceptual_hash=perceptual_hash(stored.image),
        )


def _merge(findings: Sequence[Finding]) -> Finding:
    """Joins the reasons; every other field is the business of one check alone."""
    values = {
        field.name: next(
            (value for one in findings if (value := getattr(one, field.name)) is not None), None
        )
        for field in fields(Finding)
        if field.name != "reasons"
    }
    return Finding(reasons=tuple(reason for one in findings for reason in one.reasons), **values)
