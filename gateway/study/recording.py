"""What a row takes of the images that an augmentation made."""

from collections import Counter

from gateway.api.resources import AugmentationResult, Study
from gateway.augment.tables import Manifest
from gateway.study.first_images import write_first
from gateway.study.records import Arm, AugmentationRecord
from gateway.study.study_rows import added_per_class, made_per_class
from servicekit.storage import ObjectStore, to_uri


def record_of(
    store: ObjectStore, study: Study, row: Arm, seed: int, name: str, result: AugmentationResult
) -> AugmentationRecord:
    """Returns a row's share of a finished augmentation: all of its images, or the first of each
    class, for which a manifest is written."""
    count = added_per_class(study, row)
    uri, accepted = result.manifest_uri, result.accepted_count
    most = max([count, *dict(row.images.class_counts).values()])
    if count < made_per_class(study, row):
        key = f"{study.name}/first-{count}-{name.rpartition('/')[2]}.parquet"
        accepted = write_first(store, uri, count, key)
        uri = to_uri(key)
    reasons: Counter[str] = Counter()
    for table in Manifest(store, result.rejected_uri).groups("reason"):
        reasons.update(str(reason) for reason in table.column("reason").to_pylist())
    return AugmentationRecord(
        arm=row,
        seed=seed,
        name=name,
        manifest_uri=uri,
        rejected_uri=result.rejected_uri,
        accepted_count=accepted,
        whole_count=result.accepted_count,
        rejected_count=result.rejected_count,
        rejected_reasons=dict(reasons),
        shortfalls=tuple(
            f"{s.class_name}: {s.made} of {min(s.wanted, most)}; {s.reason}"
            for s in result.shortfalls
            if s.made < most
        ),
        seconds=dict(result.seconds),
        prompts=result.prompts,
        lengths=result.lengths,
        recognition=result.recognition,
    )
