"""What a check of screening takes and gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class Policy:
    """Thresholds; None means that the check rejects nothing (see each check)."""

    min_clip_score: float | None = None
    max_unsafe_score: float | None = None
    # Bits of 64; copies within this distance are looked at, see duplicates.py.
    max_duplicate_distance: int = 10
    # Manifest whose images must not be copied; empty means none.
    protected_manifest_uri: str = ""


@dataclass(frozen=True)
class Subject:
    """An image that is judged, and the text that it should show (empty: none)."""

    image_uri: str
    image: Image.Image
    text: str
    pixel_sha256: str
    perceptual_hash: int


@dataclass(frozen=True)
class Finding:
    """What one check found about one image; fields that are not its business stay None."""

    reasons: tuple[str, ...] = ()
    unsafe_score: float | None = None
    clip_score: float | None = None
    duplicate_of_uri: str | None = None
    duplicate_of_split: str | None = None


class Check(Protocol):
    """One thing that is checked of images."""

    async def judge(self, subjects: Sequence[Subject], policy: Policy) -> list[Finding]:
        """Returns one finding per subject, in order."""
