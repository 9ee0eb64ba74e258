"""What became of an item, as plain data that a durable step can record."""

from dataclasses import dataclass
from typing import Any

from gateway.clients.generator import MadeImage
from gateway.clients.retriever import Hit
from gateway.clients.verdicts import Verdict
from servicekit.errors import ServiceError

NOT_CHECKED_UNSAFE, NO_CLIP_SCORE = -1.0, -2.0


@dataclass(frozen=True)
class Outcome:
    """One item's image and verdict. `reasons` is empty for an image that passed every filter."""

    item_id: str
    image_uri: str = ""
    sha256: str = ""
    model_digest: str = ""
    steps: int = 0
    guidance_scale: float = 0.0
    clip_score: float = NO_CLIP_SCORE
    unsafe_score: float = NOT_CHECKED_UNSAFE
    pixel_sha256: str = ""
    perceptual_hash: int = 0
    reasons: tuple[str, ...] = ()
    message: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the outcome as a step's result."""
        return {**vars(self), "reasons": list(self.reasons)}


def from_plain(values: dict[str, Any]) -> Outcome:
    """Returns the outcome that a step recorded."""
    return Outcome(**{**values, "reasons": tuple(values["reasons"])})


def failed(item_id: str, error: ServiceError) -> Outcome:
    """Returns the outcome of an item that could not be made."""
    return Outcome(item_id, reasons=("FAILED",), message=f"{error.reason}: {error.message}")


def judged(item_id: str, made: MadeImage, verdict: Verdict) -> Outcome:
    """Returns the outcome of an image that was made and screened."""
    return Outcome(
        item_id=item_id,
        image_uri=made.image_uri,
        sha256=made.sha256,
        model_digest=made.model_digest,
        steps=made.steps,
        guidance_scale=made.guidance_scale,
        clip_score=verdict.clip_score,
        unsafe_score=verdict.unsafe_score,
        pixel_sha256=verdict.pixel_sha256,
        perceptual_hash=verdict.perceptual_hash,
        reasons=verdict.reasons if not verdict.accepted else (),
        message=message_of(verdict),
    )


def retrieved(hit: Hit, verdict: Verdict) -> Outcome:
    """Returns the outcome of an image that was found and screened, whose item is not known yet."""
    return Outcome(
        item_id="",
        image_uri=hit.image_uri,
        sha256=hit.sha256,
        clip_score=verdict.clip_score,
        unsafe_score=verdict.unsafe_score,
        pixel_sha256=verdict.pixel_sha256,
        perceptual_hash=verdict.perceptual_hash,
        reasons=() if verdict.accepted else verdict.reasons,
        message=message_of(verdict),
    )


def message_of(verdict: Verdict) -> str:
    """Returns why an image was rejected, in words; nothing for one that was not."""
    if verdict.accepted:
        return ""
    if verdict.duplicate_of_uri:
        return f"copies {verdict.duplicate_of_uri} of the split {verdict.duplicate_of_split!r}"
    if "UNSAFE" in verdict.reasons:
        return f"unsafe with probability {verdict.unsafe_score:.2f}"
    if "LOW_CLIP_SCORE" in verdict.reasons:
        return f"its CLIP score is {verdict.clip_score:.3f}"
    return ", ".join(verdict.reasons)
