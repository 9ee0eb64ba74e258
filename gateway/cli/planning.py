"""What a run would take, said before it begins: images, calls, pace, time, disk."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.estimating import Estimate
from gateway.cli.execute import CommandResult
from gateway.cli.failures import CliError
from gateway.cli.progress import clock
from gateway.cli.room import Disk, size_of
from gateway.cli.session import Session
from gateway.cli.steps import left_out_count
from gateway.cli.subset import drawn
from gateway.cli.training import chosen, machines

if TYPE_CHECKING:
    from rich.console import Console

# Beyond this a person at a terminal is asked.
ASK_SECONDS = 3600.0
# A file system gives room by the block; a shard adds headers and a label.
_BLOCK, _IN_SHARD = 4096, 2048
# Of an estimate, for --json.
_FIELDS = (
    "image_count", "made_count", "call_count", "model", "model_digest", "width", "height",
    "step_count", "images_per_second", "measured_count", "rejected_share",
    "measured_on_other_methods",
)  # fmt: skip


@dataclass(frozen=True)
class RunPlan:
    """Estimates of all augmentations of a run, how often each is made, and of the training.

    `subset_seeds` are the draws of real images of a study whose seeds have each their own, and
    `load` how many tasks and cores the machine has now.
    """

    estimates: Mapping[str, Estimate]
    times: int = 1
    training: pb.PlanStudyResponse = field(default_factory=pb.PlanStudyResponse)
    subset_seeds: tuple[int, ...] = ()
    load: tuple[float, int] | None = None

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
    def is_measured(self) -> bool:
        """Whether any pace is known."""
        trained = any(one.images_per_second for one in self.training.trainings)
        return trained or any(one.images_per_second for one in self.estimates.values())

    @property
    def seconds(self) -> float | None:
        """What making them takes; None if the pace of any is not known."""
        spent = 0.0
        for one in self.estimates.values():
            if is_unknown(one):
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
    found += [f"left out {one.label}: {one.message}" for one in plan.training.left_out]
    if plan.training.cell_count:
        found.append(f"shared   {_shared(plan.training)}")
    found.append(f"time     {_time(plan)}")
    if plan.is_measured:
        found.append(f"basis    paces measured here{_load(plan)}")
    return found


def _time(plan: RunPlan) -> str:
    """What is known of the time, and of what it is not."""
    seconds, trained = plan.seconds, plan.training_seconds
    text = f"about {clock(seconds)}" if seconds is not None else ""
    if seconds is None:
        names = [name for name, one in plan.estimates.items() if is_unknown(one)]
        text = f"not known: the pace of {', '.join(names)} was never measured here"
    if trained is None:
        text += ", and the training, whose pace is not known yet: none of its kind was run here"
    elif trained:
        text += f", and about {clock(trained)} of training"
    return text


def _load(plan: RunPlan) -> str:
    """On what machine they hold."""
    text = "; they change with what else the machine does"
    if plan.load:
        tasks, cores = plan.load
        text += f", which now has {tasks:.0f} tasks for {cores} cores"
        text += ": busy, so paces measured now are low" if tasks > 1.5 * cores else ""
    return text


def is_unknown(one: Estimate) -> bool:
    """Says whether images have to be made whose pace is not known."""
    return bool(one.model) and not one.images_per_second


def load_of(session: Session) -> tuple[float, int] | None:
    """Tasks that want to run and cores, where the system is on this machine; else None."""
    if not session.connection.is_own:
        return None
    return os.getloadavg()[0], len(os.sched_getaffinity(0))


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
        taken = clock(one.measured_image_count / one.images_per_second)
        text += f"{one.measured_image_count:,} in {taken}"
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
        text += " of other methods" if one.measured_on_other_methods else ""
        text += f", {100 * one.rejected_share:.0f} % rejected" if one.rejected_share else ""
    return text


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
            f"The disk has no room for the images: {tight.text}, at least {size_of(tight.least)}.",
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
    seconds, trained = plan.seconds, plan.training_seconds
    return {
        "subset": drawn(dataset),
        "subset_seeds": list(plan.subset_seeds),
        "augmentations": [
            {"method": name, "times": plan.times}
            | {field: getattr(one, field) for field in _FIELDS}
            for name, one in plan.estimates.items()
        ],
        "training_count": plan.training.training_run_count,
        "cell_count": plan.training.cell_count,
        "augmentation_count": plan.training.augmentation_count,
        "left_out": {one.label: one.message for one in plan.training.left_out},
        "training_seconds": None if trained is None else round(trained, 1),
        "image_count": plan.image_count,
        "made_count": plan.made_count,
        "load": plan.load and {"tasks": plan.load[0], "cores": plan.load[1]},
        "seconds": None if seconds is None else round(seconds, 1),
        "disks": [
            {"place": str(d.place), "needed_bytes": d.usual, "free_bytes": d.free} for d in room
        ],
    }
