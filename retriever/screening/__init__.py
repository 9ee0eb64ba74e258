"""Screening: one small file per check, and the registry that lists them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from retriever.embedder import Embedder
from retriever.screening.base import Check, Finding, Policy, Subject
from retriever.screening.clip_score import ClipScoreCheck
from retriever.screening.duplicates import DuplicateCheck
from retriever.screening.protected import ProtectedLibrary
from retriever.screening.safety import SafetyCheck
from retriever.screening.screener import Candidate, Screener, Verdict

__all__ = [
    "CHECKS",
    "Candidate",
    "Check",
    "Finding",
    "Parts",
    "Policy",
    "Screener",
    "Subject",
    "Verdict",
    "create_checks",
]


@dataclass(frozen=True)
class Parts:
    """What checks are made of."""

    embedder: Embedder
    protected: ProtectedLibrary
    safety: SafetyCheck


CHECKS: Mapping[str, Callable[[Parts], Check]] = {
    "safety": lambda parts: parts.safety,
    "clip_score": lambda parts: ClipScoreCheck(parts.embedder),
    "duplicates": lambda parts: DuplicateCheck(parts.protected),
}


def create_checks(parts: Parts) -> dict[str, Check]:
    """Returns one of each check, by name, in the order in which reasons are listed."""
    return {name: create(parts) for name, create in CHECKS.items()}
