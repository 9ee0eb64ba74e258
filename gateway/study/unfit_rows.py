"""Rows that cannot be trained, which is known before anything is made for them."""

from collections.abc import Sequence

from gateway.api.resources import Dataset, Study
from gateway.clients.trainer import Trainer, TrainingRequest
from gateway.export.results import MATCHED
from gateway.study.records import Arm
from gateway.study.study_rows import added_in_all, recipe_of
from servicekit.errors import InvalidArgument

# Strategies and classifiers, or schedules, that do not go together: others of a study may.
UNFIT = frozenset({"NO_BATCH_NORM", "FREEZE_UNFIT", "SCHEDULE_UNFIT"})
# Name and manifest of each further test set.
TestSets = tuple[tuple[str, str], ...]


async def unfit_rows(
    trainer: Trainer,
    study: Study,
    dataset: Dataset,
    rows: Sequence[Arm],
    test_sets: TestSets = (),
) -> dict[tuple[object, ...], str]:
    """Returns why a row cannot be trained, by its key. Each training is asked for once.

    Raises any other ServiceError of the trainer.
    """
    known: dict[object, str] = {}
    for row in rows:
        kind = (row.strategy, row.setting)
        if kind not in known:
            known[kind] = await _why(trainer, *planned(study, dataset, row, test_sets))
    found = {row.key: known[row.strategy, row.setting] for row in rows}
    return {key: why for key, why in found.items() if why}


async def _why(trainer: Trainer, wanted: TrainingRequest, added: int) -> str:
    try:
        await trainer.plan(wanted, added)
    except InvalidArgument as error:
        if error.reason not in UNFIT:
            raise
        return error.message
    return ""


def planned(
    study: Study, dataset: Dataset, row: Arm, test_sets: TestSets = ()
) -> tuple[TrainingRequest, int]:
    """Returns the training of a row whose images are not made yet, and how many these are."""
    added = 0 if row.method == MATCHED else added_in_all(study, dataset, row)
    return TrainingRequest(
        run_id="",
        manifest_uri=dataset.manifest_uri,
        synthetic_uri="",
        strategy=row.strategy if added else "",
        recipe=recipe_of(study, dataset, row),
        seed=0,
        test_sets=test_sets,
        validation=dataset.has_validation,
    ), added
