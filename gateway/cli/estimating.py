"""What images would take, by the pace of earlier ones or of their own first ones."""

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.session import Session

# What an augmentation takes, or one method of those that it mixes.
Estimate = pb.PlanAugmentationResponse | pb.MethodEstimate

# Runs of fewer images are over before measuring would tell anything.
_LEAST_TO_MEASURE = 64
_PROBE_IMAGES = 32


async def estimate(
    session: Session, parent: str, augmentation: pb.Augmentation, probe_id: str
) -> pb.PlanAugmentationResponse:
    """What an augmentation would take. An unknown pace is measured with its first images.

    They are images of the run itself, which does not make them again.
    """
    request = pb.PlanAugmentationRequest(parent=parent, augmentation=augmentation)
    known: pb.PlanAugmentationResponse
    known = await session.call(session.gateway.PlanAugmentation, request)
    if not any(map(_is_unmeasured, by_method("", known).values())):
        return known
    probe = pb.Augmentation()
    probe.CopyFrom(augmentation)
    classes = await _class_names(session, parent, augmentation)
    probe.class_names[:] = classes[:_PROBE_IMAGES]
    probe.preview_count = max(1, _PROBE_IMAGES // len(classes))
    session.view.say("measuring the pace with the first images, which are kept")
    creation = pb.CreateAugmentationRequest(
        parent=parent, augmentation_id=f"{probe_id[:57]}-probe", augmentation=probe
    )
    operation = await session.call(session.gateway.CreateAugmentation, creation)
    await session.finished(operation, pb.Augmentation())
    known = await session.call(session.gateway.PlanAugmentation, request)
    return known


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
