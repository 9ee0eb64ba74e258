"""What the retriever is asked to judge, and what it says."""

from dataclasses import dataclass

from variegate.retriever.v1 import retriever_pb2 as pb


@dataclass(frozen=True)
class Candidate:
    """An image to judge, and the text that it should show."""

    image_uri: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """What was found about one image; scores as in variegate.retriever.v1.Verdict."""

    accepted: bool
    reasons: tuple[str, ...]
    unsafe_score: float
    clip_score: float
    pixel_sha256: str
    perceptual_hash: int
    duplicate_of_uri: str
    duplicate_of_split: str


def to_verdict(verdict: pb.Verdict) -> Verdict:
    """Returns a message as a value."""
    return Verdict(
        accepted=verdict.accepted,
        reasons=tuple(verdict.reasons),
        unsafe_score=verdict.unsafe_score,
        clip_score=verdict.clip_score,
        pixel_sha256=verdict.pixel_sha256,
        perceptual_hash=verdict.perceptual_hash,
        duplicate_of_uri=verdict.duplicate_of_uri,
        duplicate_of_split=verdict.duplicate_of_split,
    )
