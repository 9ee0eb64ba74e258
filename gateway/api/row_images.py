"""How the images of one row of a study are made, or where they are."""

from dataclasses import dataclass, fields

from gateway.digests import Plain


@dataclass(frozen=True)
class RowImages:
    """How the images of a study's row are made, or where they are, besides method and parameters.

    Meanings as in variegate.gateway.v1.StudyArm. `class_counts` are sorted.
    """

    negative_prompt: str = ""
    make_factor: float = 0.0
    keep: str = ""
    class_counts: tuple[tuple[str, int], ...] = ()
    added_manifest_uri: str = ""
    added_image_count: int = 0
    guidance_scale: float | None = None

    def said(self) -> dict[str, Plain]:
        """What is not as usual, by name."""
        return {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != one.default
        }


USUAL_IMAGES = RowImages()
