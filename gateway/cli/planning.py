"""What a run would take, said before it begins: images, calls, pace, time, disk."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.estimating import Estimate
from gateway.cli.execute import CommandResult
from gateway.cli.failures import CliError
from gateway.cli.progress import clock
from gateway.cli.session import Session
from gateway.cli.steps import left_out_count
from gateway.cli.subset import drawn
from gateway.cli.training import chosen, machines

if TYPE_CHECKING:
    from rich.console import Console

# Beyond this a person at a terminal is asked.
ASK_SECONDS = 3600.0
# Of the size of the pixels: what a PNG of a photograph takes, and less than any does.
_USUAL_SHARE, _LEAST_SHARE = 0.7, 0.3
# A file system gives room by the block; a shard adds headers and a label.
_BLOCK, _IN_SHARD = 4096, 2048


@dataclass(frozen=True)
class RunPlan:
    """Estimates of all augmentations of a run, how often each is made, and of the training.

    `subset_seeds` are the draws of real images of a study whose seeds have each their own.
    """

    estimates: Mapping[str, Estimate]
    times: int = 1
    training: pb.PlanStudyResponse = field(default_factory=pb.PlanStudyResponse)
    subset_seeds: tuple[int, ...] = ()

    @property
    def image_count(self) -> int:
        """Images that are wanted."""
        return self.times * sum(one.image_count for one in self.estimates.values())

    @property
    def made_count(self) -> int:
        """Images that are made for them."""
        return self.times * sum(one.made_count for one in self.estimates.values() if one.model)

    @property
    def training_seconds(self) -> float | None:
        """What training the classifiers takes; None if the pace is not known."""
        spent = 0.0
        for one in self.training.trainings:
            if not one.images_per_second:
                return None
            images = one.run_count * one.training.step_count * one.training.batch_size
            spent += images / one.images_per_second
        return spent

    @property
    def seconds(self) -> float | None:
        """What making them takes; None if the pace of any is not known."""
        spent = 0.0
        for one in self.estimates.values():
            if one.model and not one.images_per_second:
                return None
            spent += self.times * one.made_count / one.images_per_second if one.model else 0.0
        return spent

    def bytes(self, *, share: float, is_folder: bool, kept: bool = False) -> int:
        """Bytes of the images, those made or only those `kept`, at a share of their pixels."""
        total = 0
        for one in self.estimates.values():
            size = round(3 * one.width * one.height * share)
            size = -(-size // _BLOCK) * _BLOCK if is_folder else size + _IN_SHARD
            total += self.times * size * (one.image_count if kept else one.made_count)
        return total


def lines(dataset: pb.Dataset, plan: RunPlan) -> list[str]:
    """The plan for people."""
    classes = dataset.classes
    train = sum(one.train_count for one in classes)
    test = sum(one.test_count for one in classes)
    left = left_out_count(dataset)
    text = f"plan     {len(classes)} classes, {train:,} images to start from"
    text += f", {test:,} to test with" if test else ""
    kept = sum(one.validation_count for one in classes)
    text += f", {kept:,} to choose by" if kept else ""
    found = [text + (f", {left:,} file{'s'[: left != 1]} left out" if left else "")]
    if draws := plan.subset_seeds:
        seeds = ", ".join(map(str, draws))
        found.append(f"subsets  {len(draws)}, each seed with one of its own: subset seeds {seeds}")
    for name, one in plan.estimates.items():
        found.append(f"         {_made(name, one, plan.times)}")
    found += [f"         {_trained(one)}" for one in plan.training.trainings]
    if plan.training.cell_count:
        found.append(f"shared   {_shared(plan.training)}")
    seconds, trained = plan.seconds, plan.training_seconds
    spent = "not known before the first images" if seconds is None else f"about {clock(seconds)}"
    if trained is None:
        spent += ", and the training, whose pace is not known yet"
    elif trained:
        spent += f", and about {clock(trained)} of training"
    found.append(f"time     {spent}")
    return found


def _shared(one: pb.PlanStudyResponse) -> str:
    text = f"{one.cell_count:,} cells (rows times seeds): {one.training_run_count:,} classifiers, "
    text += f"{one.augmentation_count:,} sets of images; what several cells need is made once"
    return text


def _trained(one: pb.StudyTraining) -> str:
    training = one.training
    text = f"{one.run_count:,} classifier{'s'[: one.run_count != 1]} to train: "
    text += training.classifier + (f" with {training.policy}" if training.policy else "")
    most = "at most " if training.schedule else ""
    text += f", {most}{training.step_count:,} steps of {training.batch_size} images of "
    text += f"{training.image_size} x {training.image_size} pixels"
    text += chosen(training.schedule, training.choose)
    text += machines(training.node_count, training.gpus_per_node)
    if one.measured_image_count:
        text += f"; {one.images_per_second:.3g} images/s, as measured on "
        text += f"{one.measured_image_count:,}"
    return text


def _made(name: str, one: Estimate, times: int) -> str:
    often = f"{times} x " if times > 1 else ""
    if not one.model:
        return f"{name}: {often}{one.image_count:,} images from the pool"
    text = f"{name}: {often}{one.image_count:,} images of {one.width} x {one.height} pixels by "
    text += f"{one.model} ({one.model_digest[:8]}), {one.step_count} steps, "
    text += f"{one.call_count:,} call{'s'[: one.call_count != 1]}"
    if one.measured_count:
        text += f"; {one.images_per_second:.2g} images/s, as measured on {one.measured_count:,}"
        text += f", {100 * one.rejected_share:.0f} % rejected" if one.rejected_share else ""
    return text


@dataclass(frozen=True)
class Disk:
    """Room that is needed in a place, at least and usually, and that is free there, in bytes."""

    place: Path
    least: int
    usual: int
    free: int

    @property
    def text(self) -> str:
        """For people."""
        return f"about {_size(self.usual)} of {_size(self.free)} free in {self.place}"


def disks(
    session: Session, plan: RunPlan, out: Path, *, is_folder: bool, exports: bool
) -> list[Disk]:
    """The room needed, by file system: of the store, if it is on this machine, and the output."""
    wanted: list[tuple[Path, int, int]] = []
    store = store_folder(session)
    sizes = [plan.bytes(share=share, is_folder=True) for share in (_LEAST_SHARE, _USUAL_SHARE)]
    if store is not None:
        wanted.append((store, sizes[0], sizes[1]))
    if exports:
        least, usual = (
            plan.bytes(share=share, is_folder=is_folder, kept=True)
            for share in (_LEAST_SHARE, _USUAL_SHARE)
        )
        wanted.append((out, least, usual))
    by_device: dict[int, Disk] = {}
    for path, least, usual in wanted:
        place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        device = place.stat().st_dev
        before = by_device.get(device, Disk(place, 0, 0, shutil.disk_usage(place).free))
        by_device[device] = Disk(
            before.place, before.least + least, before.usual + usual, before.free
        )
    return [disk for disk in by_device.values() if disk.usual]


def store_folder(session: Session) -> Path | None:
    """The folder of the object store, if it is one of this machine."""
    root = getattr(session.connection.store, "root", None)
    return root if isinstance(root, Path) else None


async def agree(
    session: Session, dataset: pb.Dataset, plan: RunPlan, room: list[Disk], *, yes: bool, asks: bool
) -> None:
    """Says the plan, and asks at a terminal where it takes long. Raises CliError to end the run.

    Without a terminal nobody is asked, and the run begins. With `asks` false it was begun before.
    """
    for line in lines(dataset, plan):
        session.view.say(line)
    for disk in room:
        session.view.say(f"disk     {disk.text}")
    tight = next((disk for disk in room if disk.least > disk.free), None)
    if tight and not yes:
        raise CliError(
            f"The disk has no room for the images: {tight.text}, at least {_size(tight.least)}.",
            exit_code=3,
            remedy="Ask for fewer with --per-class, use --out and --state on another disk, or "
            "add --yes to begin all the same.",
            reason="NO_ROOM",
        )
    # Where the pace of one part is not known, the other may be long enough.
    seconds = (plan.seconds or 0.0) + (plan.training_seconds or 0.0)
    if yes or not asks or seconds < ASK_SECONDS:
        return
    question = f"This takes about {clock(seconds)} hours. Begin?"
    if not await asyncio.to_thread(session.view.ask, question):
        raise CliError(
            "Not begun.",
            exit_code=1,
            remedy="Try --preview 4 for a few of each class, or a smaller --per-class.",
            reason="NOT_BEGUN",
        )


def outcome(dataset: pb.Dataset, plan: RunPlan, room: list[Disk]) -> CommandResult:
    """What --plan answers."""
    text = [*lines(dataset, plan), *(f"disk     {disk.text}" for disk in room)]

    def render(console: "Console") -> None:
        for line in text:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return CommandResult(_document(dataset, plan, room), render)


def _document(dataset: pb.Dataset, plan: RunPlan, room: list[Disk]) -> dict[str, Any]:
    """The plan for --json."""
    fields = ("image_count", "made_count", "call_count", "model", "model_digest", "width")
    more = ("height", "step_count", "images_per_second", "measured_count", "rejected_share")
    seconds, trained = plan.seconds, plan.training_seconds
    return {
        "subset": drawn(dataset),
        "subset_seeds": list(plan.subset_seeds),
        "augmentations": [
            {"method": name, "times": plan.times}
            | {field: getattr(one, field) for field in (*fields, *more)}
            for name, one in plan.estimates.items()
        ],
        "training_count": plan.training.training_run_count,
        "cell_count": plan.training.cell_count,
        "augmentation_count": plan.training.augmentation_count,
        "training_seconds": None if trained is None else round(trained, 1),
        "image_count": plan.image_count,
        "made_count": plan.made_count,
        "seconds": None if seconds is None else round(seconds, 1),
        "disks": [
            {"place": str(d.place), "needed_bytes": d.usual, "free_bytes": d.free} for d in room
        ],
    }


def _size(count: float) -> str:
    """12_300_000 -> "12.3 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
