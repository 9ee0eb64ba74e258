"""What images would take, by the pace of earlier ones or of their own first ones."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.session import Session

# What an augmentation takes, or one method of those that it mixes.
Estimate = pb.PlanAugmentationResponse | pb.MethodEstimate

# Runs of fewer images are over before measuring would tell anything.
_LEAST_TO_MEASURE = 64
_PROBE_IMAGES = 32
# For all measuring of a plan together, of which no part gets less than a third of what is left: the
# pace of a model that was measured once is known for every method.
MEASURING_SECONDS = 20.0
_MOST_PARTS = 3


@dataclass
class Patience:
    """The seconds that are left for measuring; `parts` share them.

    `stopped` are the estimates whose measuring took too long, by model and steps: of their pace so
    far other methods are reckoned with.
    """

    parts: int = 1
    stopped: dict[tuple[str, int], pb.PlanAugmentationResponse] = field(default_factory=dict)
    left: float = field(default_factory=lambda: MEASURING_SECONDS)

    @property
    def seconds(self) -> float:
        """Those of the next part."""
        return self.left / max(1, min(self.parts, _MOST_PARTS))

    @asynccontextmanager
    async def share(self) -> AsyncIterator[None]:
        """Ends the block with TimeoutError after the share of one part; what is left is the
        others'."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.seconds):
                yield
        finally:
            self.parts -= 1
            self.left = max(0.0, self.left - (time.monotonic() - began))


async def estimate(
    session: Session,
    parent: str,
    augmentation: pb.Augmentation,
    probe_id: str,
    patience: Patience | None = None,
) -> pb.PlanAugmentationResponse:
    """What an augmentation would take. An unknown pace is measured with its first images.

    They are images of the run itself, which does not make them again. After the seconds of
    `patience`, MEASURING_SECONDS by default, the pace so far counts, or stays unknown.
    """
    patience = patience or Patience()
    request = pb.PlanAugmentationRequest(parent=parent, augmentation=augmentation)
    known: pb.PlanAugmentationResponse
    known = await session.call(session.gateway.PlanAugmentation, request)
    if not any(map(_is_unmeasured, by_method("", known).values())):
        return known
    if (other := patience.stopped.get(_kind(known))) is not None:
        known.images_per_second = other.images_per_second
        known.measured_count = other.measured_count
        known.measured_on_other_methods = True
        return known
    probe = pb.Augmentation()
    probe.CopyFrom(augmentation)
    classes = await _class_names(session, parent, augmentation)
    probe.class_names[:] = classes[:_PROBE_IMAGES]
    probe.preview_count = max(1, _PROBE_IMAGES // len(classes))
    session.view.say(
        "measuring the pace with the first images, which are kept, for "
        f"{patience.seconds:.0f} s at most"
    )
    creation = pb.CreateAugmentationRequest(
        parent=parent, augmentation_id=f"{probe_id[:57]}-probe", augmentation=probe
    )
    operation = await session.call(session.gateway.CreateAugmentation, creation)
    try:
        async with patience.share():
            await session.finished(operation, pb.Augmentation())
    except TimeoutError:
        known = _so_far(known, await session.stopped(operation))
        if known.model and known.images_per_second:
            patience.stopped[_kind(known)] = known
        return known
    known = await session.call(session.gateway.PlanAugmentation, request)
    return known


def _so_far(
    known: pb.PlanAugmentationResponse, progress: pb.OperationProgress
) -> pb.PlanAugmentationResponse:
    """The estimate with the pace at which images were made until measuring was stopped, if any."""
    if progress.stage == "generate" and progress.rate and not known.methods:
        known.images_per_second = progress.rate
        known.measured_count = progress.done_count
    return known


def _kind(one: pb.PlanAugmentationResponse) -> tuple[str, int]:
    return one.model_digest, one.step_count


def by_method(name: str, known: pb.PlanAugmentationResponse) -> dict[str, Estimate]:
    """What an augmentation takes, or each of the methods that it mixes, by what people read."""
    if not known.methods:
        return {name: known}
    return {f"{name}, {one.method} ({100 * one.share:.3g} %)": one for one in known.methods}


def _is_unmeasured(one: Estimate) -> bool:
    is_measured = one.measured_count >= _PROBE_IMAGES // 2
    return bool(one.model) and not is_measured and one.made_count >= _LEAST_TO_MEASURE


async def _class_names(session: Session, parent: str, augmentation: pb.Augmentation) -> list[str]:
    if augmentation.class_names:
        return list(augmentation.class_names)
    dataset = await session.call(session.gateway.GetDataset, pb.GetDatasetRequest(name=parent))
    return [one.class_name for one in dataset.classes]
