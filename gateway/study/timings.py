"""Seconds by row and stage, with the service that spent them."""

from collections.abc import Sequence

from gateway.export.results import Timing
from gateway.study.costs import shared_seconds
from gateway.study.records import Arm, AugmentationRecord, RunRecord

# Which service spends the time of a stage of the gateway's workflows.
SERVICES = {
    "import": "gateway",
    "plan": "gateway",
    "mix": "gateway",
    "assemble": "gateway",
    "caption": "captioner",
    "prompt": "prompter",
    "senses": "prompter",
    "encode": "generator",
    "condition": "generator",
    "generate": "generator",
    "embed": "retriever",
    "index": "retriever",
    "retrieve": "retriever",
    "search": "retriever",
    "filter": "retriever",
    "recognise": "retriever",
    "oracle": "retriever",
    "train": "trainer",
}


def timings_of(
    arms: Sequence[Arm],
    records: Sequence[RunRecord],
    augmentations: Sequence[AugmentationRecord],
) -> tuple[Timing, ...]:
    """Returns what each stage of each row took, summed over seeds; none of no time."""
    timings = []
    for arm in arms:
        parts = [shared_seconds(one) for one in augmentations if one.arm.key == arm.key]
        runs = [record for record in records if record.arm.key == arm.key]
        parts += [{**record.stage_seconds, "train": record.seconds} for record in runs]
        seconds: dict[str, float] = {}
        for part in parts:
            for stage, spent in part.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        timings += [
            Timing(arm.label, SERVICES.get(stage, "gateway"), stage, float(spent))
            for stage, spent in seconds.items()
            if spent > 0
        ]
    return tuple(timings)
