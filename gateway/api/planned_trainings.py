"""The rows of a study and the classifiers that they need, before anything is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.api.resources import Dataset, Study
from gateway.api.training_messages import training_to_pb
from gateway.clients.trainer import Trainer, TrainingPlan, TrainingRequest
from gateway.study.records import Arm
from gateway.study.study_rows import arm_of, rows_of, shared_augmentations
from gateway.study.unfit_rows import UNFIT, planned
from servicekit.errors import InvalidArgument


def check_rows(study: Study) -> None:
    """Raises InvalidArgument for rows that are alike, or that want what the study does not make."""
    seen: dict[tuple[object, ...], int] = {}
    labels: dict[str, int] = {}
    for number, arm in enumerate(study.arms):
        if arm.images_per_class > study.images_per_class:
            raise InvalidArgument(
                f"the row adds {arm.images_per_class} images a class, and the study makes "
                f"{study.images_per_class}; raise images_per_class of the study",
                field=f"study.arms[{number}].images_per_class",
                reason="FIELD_OUT_OF_RANGE",
            )
        row = arm_of(study, arm)
        if (other := seen.setdefault(row.key, number)) != number:
            raise InvalidArgument(
                f"the row {row.label!r} is there twice, as arms[{other}] and arms[{number}]; leave "
                "one out",
                field=f"study.arms[{number}]",
                reason="ROW_REPEATED",
            )
        if (of_label := labels.setdefault(row.label, number)) != number:
            raise InvalidArgument(
                f"arms[{of_label}] and arms[{number}] would both be called {row.label!r}; leave "
                "one out, or make them differ in more",
                field=f"study.arms[{number}]",
                reason="ROW_REPEATED",
            )
    names = [one.name for one in study.test_sets]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InvalidArgument(
            f"two test sets are called {repeated[0]!r}; give each a name of its own",
            field="study.test_sets",
            reason="TEST_SET_REPEATED",
        )
    if study.counts_passes and study.training.schedule:
        raise InvalidArgument(
            f"the schedule {study.training.schedule!r} ends trainings by itself, so that no budget "
            "in passes can be kept; leave one of them out",
            field="study.training.schedule",
            reason="SCHEDULE_UNFIT",
        )
    if study.counts_passes and not study.training.step_count:
        raise InvalidArgument(
            "with a budget in passes the steps of the baseline must be said; set step_count",
            field="study.training.step_count",
            reason="FIELD_REQUIRED",
        )


@dataclass(frozen=True)
class StudyPlan:
    """What the classifiers of a study take, with how many there are of each kind, and the rows that
    cannot be trained, each with the reason."""

    trainings: Sequence[tuple[TrainingPlan, int]]
    rows: Sequence[Arm]
    left_out: Sequence[tuple[Arm, str]] = ()


async def plan_trainings(
    trainer: Trainer,
    study: Study,
    dataset: Dataset,
    test_sets: tuple[tuple[str, str], ...] = (),
) -> StudyPlan:
    """Returns what the study's classifiers take. Those that train the very same count once.

    Raises what the trainer would refuse, before anything is made: names, sizes, and images that can
    never fit into its cache, and rows that cannot be trained if there are no others.
    """
    _check_validation(study, dataset)
    # With the arms first, so that what is wrong is said of an arm where it is one's.
    rows = rows_of(study, has_oracle=bool(study.pool_uri))
    methods, plans = len(study.arms), dict[object, tuple[TrainingPlan, int]]()
    numbered = [*enumerate(rows[-methods:]), *((-1, row) for row in rows[:-methods])]
    left_out: list[tuple[Arm, InvalidArgument]] = []
    for number, row in numbered:
        wanted, added = planned(study, dataset, row, test_sets)
        kind = (tuple(sorted(wanted.recipe.plain().items())), wanted.strategy, added)
        is_known = kind in plans
        if not is_known:
            try:
                plan = await _plan(trainer, wanted, added, number, row)
            except InvalidArgument as error:
                if error.reason not in UNFIT or number < 0:
                    raise
                left_out.append((row, error))
                continue
            plans[kind] = (plan, 0)
        # Real images alone are the same training whatever the row is called.
        if added or not is_known:
            plan, count = plans[kind]
            plans[kind] = (plan, count + len(study.seeds))
    if len(left_out) == methods:
        raise left_out[0][1]
    together: dict[object, tuple[TrainingPlan, int]] = {}
    for plan, count in plans.values():
        key = tuple(sorted(plan.recipe.plain().items()))
        together[key] = (plan, together.get(key, (plan, 0))[1] + count)
    reasons = [(row, error.message) for row, error in left_out]
    unfit = {row.key for row, _ in left_out}
    fit = [row for row in rows if row.key not in unfit]
    return StudyPlan(list(together.values()), fit, reasons)


def _check_validation(study: Study, dataset: Dataset) -> None:
    training = study.training
    for name, value in (("schedule", training.schedule), ("choose", training.choose)):
        if value not in ("", "last") and not dataset.has_validation:
            raise InvalidArgument(
                f"the {name} {value!r} goes by images of the split 'validation', and "
                f"{dataset.name} has none; import the images with a validation_fraction, or leave "
                "it out",
                field=f"study.training.{name}",
                reason="FIELD_REQUIRED",
            )


async def _plan(
    trainer: Trainer, wanted: TrainingRequest, added: int, number: int, row: Arm
) -> TrainingPlan:
    try:
        return await trainer.plan(wanted, added)
    except InvalidArgument as error:
        last = error.field.rpartition(".")[2]
        of_arm = number >= 0 and bool(vars(row).get(last))
        field = f"arms[{number}].{last}" if of_arm else error.field
        raise InvalidArgument(error.message, field=f"study.{field}", reason=error.reason) from error


def study_plan_to_pb(study: Study, plan: StudyPlan) -> pb.PlanStudyResponse:
    """Returns what a study takes."""
    kinds = [
        pb.StudyTraining(
            training=training_to_pb(one.recipe),
            run_count=count,
            images_per_second=one.images_per_second,
            measured_image_count=one.measured_count,
        )
        for one, count in plan.trainings
    ]
    left_out = [
        pb.StudyFailure(label=row.label, seed=study.seeds[0], stage="training", message=why)
        for row, why in plan.left_out
    ]
    return pb.PlanStudyResponse(
        training_run_count=sum(count for _, count in plan.trainings),
        training=kinds[0].training,
        images_per_second=kinds[0].images_per_second,
        measured_image_count=kinds[0].measured_image_count,
        trainings=kinds,
        cell_count=len(plan.rows) * len(study.seeds),
        augmentation_count=len(shared_augmentations(study, plan.rows)),
        left_out=left_out,
    )
