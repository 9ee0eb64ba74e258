"""`variegate study --preview N`: the first images of every method, side by side."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import estimating, inputs, outputs, planning
from gateway.cli.contact_sheet import images_of, write_sheet
from gateway.cli.execute import CommandResult
from gateway.cli.failures import SHORTFALL
from gateway.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console

# Of a row, as the gateway samples it: so the images are those that the study keeps.
_SAFETY_SAMPLE = 64


async def plan(session: Session, request: pb.CreateStudyRequest, count: int) -> planning.RunPlan:
    """The plan of the first `count` images a class of every method."""
    return planning.RunPlan(await estimates_of(session, request, count))


async def estimates_of(
    session: Session, request: pb.CreateStudyRequest, count: int = 0
) -> dict[str, estimating.Estimate]:
    """What the images of each method take, or the first `count` a class. They share the seconds of
    measuring."""
    study, estimates = request.study, dict[str, estimating.Estimate]()
    made = makers(study)
    patience = estimating.Patience(len(made))
    for label, arm in made.items():
        wanted = augmentation_of(study, arm)
        wanted.preview_count = count
        probe_id = probe_id_of(request.study_id, arm)
        known = await estimating.estimate(session, study.dataset, wanted, probe_id, patience)
        estimates |= estimating.by_method(label, known)
    return estimates


async def make(
    session: Session, request: pb.CreateStudyRequest, place: outputs.OutputFolder, count: int
) -> CommandResult:
    """Makes them with the study's first seed, which does not make them again, and a sheet."""
    study, made = request.study, dict[str, pb.Augmentation]()
    for label, arm in makers(study).items():
        wanted = augmentation_of(study, arm)
        wanted.preview_count = count
        augmentation = pb.CreateAugmentationRequest(
            parent=study.dataset,
            augmentation_id=f"{probe_id_of(request.study_id, arm)}-{count}",
            augmentation=wanted,
        )
        operation = await session.call(session.gateway.CreateAugmentation, augmentation)
        made[label] = await session.finished(operation, pb.Augmentation(), part=label)
    sheet = await asyncio.to_thread(_write, session, made, place.folder)
    outputs.finish(place, preview=count)
    accepted = {name: one.result.accepted_count for name, one in made.items()}
    short = {
        name: [one.class_name for one in done.result.shortfalls]
        for name, done in made.items()
        if done.result.shortfalls
    }
    paths = list(map(str, sheet))

    def render(console: "Console") -> None:
        for name, number in accepted.items():
            console.print(f"{number:,} images by {escape(name)}")
        for name, classes in short.items():
            said = escape(f"{name}: {', '.join(classes)}")
            console.print(f"[yellow]fell short[/yellow] {said}")
        for path in paths:
            console.print(f"look at {escape(path)}")

    document = {
        "preview": count,
        "accepted_counts": accepted,
        "shortfalls": short,
        "contact_sheet": paths,
    }
    return CommandResult(document, render, SHORTFALL if short else 0)


def makers(study: pb.Study) -> dict[str, pb.StudyArm]:
    """An arm for each set of images that the study makes, by what people call it.

    Of rows with numbers of their own for each class that is one for each of these.
    """
    made = [arm for arm in study.arms if not arm.added_manifest_uri]
    found: dict[str, pb.StudyArm] = {}
    for arm in made:
        several = len({str(_own(one)) for one in made if one.method == arm.method}) > 1
        words = [f"{name}={value}" for name, value in _own(arm).items()]
        found.setdefault(
            f"{arm.method} ({', '.join(words)})" if several and words else arm.method, arm
        )
    return found


def _own(arm: pb.StudyArm) -> dict[str, Any]:
    """What of an arm decides over its images besides the method, by name."""
    options = {
        "guidance": f"{arm.guidance_scale:g}" if arm.HasField("guidance_scale") else "",
        "without": arm.negative_prompt,
        "make": f"{arm.make_factor:g}" if arm.make_factor else "",
        "keep": arm.keep,
    }
    if counts := arm.class_counts:
        each = f"{min(counts.values()):,} to {max(counts.values()):,}"
        options["per class"] = f"{each}, {inputs.named_digest('c', dict(counts))[2:8]}"
    return {**dict(sorted(arm.parameters.items())), **{k: v for k, v in options.items() if v}}


def augmentation_of(study: pb.Study, arm: pb.StudyArm) -> pb.Augmentation:
    """The augmentation of an arm and the first seed, as the study itself makes it."""
    return pb.Augmentation(
        method=arm.method,
        images_per_class=(arm.class_counts and arm.images_per_class) or study.images_per_class,
        seed=study.seeds[0],
        parameters=arm.parameters,
        pool_uri=study.pool_uri,
        deterministic=study.deterministic,
        check_safety=study.check_safety,
        safety_sample_count=0 if study.check_safety else _SAFETY_SAMPLE,
        guidance_scale=arm.guidance_scale if arm.HasField("guidance_scale") else None,
        negative_prompt=arm.negative_prompt,
        make_factor=arm.make_factor,
        keep=arm.keep,
        class_counts=arm.class_counts,
    )


def probe_id_of(study_id: str, arm: pb.StudyArm) -> str:
    """The id of what is made of an arm before the study."""
    return f"{study_id[:36]}-{inputs.named_digest('m', [arm.method, _own(arm)])}"


def _write(session: Session, made: dict[str, pb.Augmentation], out: Path) -> list[Path]:
    """A row for each class and method, those of a class together."""
    store = session.connection.need_store()
    found = {name: images_of(store, one.result.manifest_uri) for name, one in made.items()}
    classes = dict.fromkeys(one for images in found.values() for one in images)
    rows = {
        f"{class_name}, {name}": images.get(class_name, [])
        for class_name in classes
        for name, images in found.items()
    }
    return write_sheet(out, rows)
