"""What the images of a row took, by the image and by the point gained."""

import math
from collections.abc import Sequence

from gateway.study.records import AugmentationRecord


def shared_seconds(record: AugmentationRecord) -> dict[str, float]:
    """The seconds by stage of a row's images: of an augmentation of which it takes a part, that
    part of them. Rows that share all images are each said to have taken the whole time."""
    whole = record.whole_count or record.accepted_count
    share = record.accepted_count / whole if whole else 1.0
    return {stage: share * spent for stage, spent in record.seconds.items()}


def costs(records: Sequence[AugmentationRecord], gain: float) -> tuple[float | None, float | None]:
    """The seconds that an accepted image took, and those that the images of a seed took for each
    point that they gained. None without images, or without a gain."""
    spent = math.fsum(sum(shared_seconds(one).values()) for one in records)
    count = sum(one.accepted_count for one in records)
    if not count:
        return None, None
    return spent / count, spent / len(records) / (100 * gain) if gain > 0 else None
