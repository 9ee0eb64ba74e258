"""The durable work of a study: every row's images, classifiers, then results and report.

Images are made one augmentation after the other, since one keeps the generator full; classifiers
are trained meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.api.resources import Augmentation, Dataset, Study
from gateway.augment.augmenting import run_augmentation
from gateway.augment.used_models import check_models
from gateway.clients.trainer import Tested, TrainingRequest
from gateway.context import Context
from gateway.digests import digest, digest_of_hex
from gateway.durable.attempts import Attempts, GivenUp, is_final
from gateway.durable.progress import WorkProgress
from gateway.durable.steps import Step, step
from gateway.export.results import BASELINE, MATCHED, ORACLE, REFERENCES, StudyFailure
from gateway.study import Arm, AugmentationRecord, RunRecord
from gateway.study.fidelity import Fidelity
from gateway.study.oracle_rows import OracleRows
from gateway.study.recording import record_of
from gateway.study.reporting import write_report
from gateway.study.study_rows import (
    added_per_class,
    augmentation_of,
    datasets_of,
    plain_of,
    recipe_of,
    rows_of,
    test_sets_of,
)
from gateway.study.training_progress import TrainingProgress
from gateway.study.unfit_rows import unfit_rows
from servicekit.errors import Precondition, ServiceError
from servicekit.storage import ObjectStore, chunks_of, to_key


@dataclass
class Studying:
    """The work of one study, whose seeds have `datasets`. Records are filled as rows finish."""

    context: Context
    study: Study
    datasets: Mapping[int, Dataset]
    progress: WorkProgress
    test_sets: tuple[tuple[str, str], ...] = ()
    runs: list[RunRecord] = field(default_factory=list)
    augmentations: list[AugmentationRecord] = field(default_factory=list)
    failures: list[StudyFailure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(self.context.settings.training_runs_in_flight)
        self._pace = TrainingProgress(self.progress)
        self._attempts = Attempts(self.context.store, f"{self.study.name}/failed")
        self._oracle = OracleRows(self.context, self.study, self.datasets, self.progress)
        self._fidelity = Fidelity(self.context, self.datasets, self.progress)
        self._given_up: dict[str, str] = {}  # Why, by the name of the augmentation.

    async def run(self) -> None:
        """Does all of it."""
        study = self.study
        await step("begin", lambda: asyncio.to_thread(self._attempts.begin))
        rows = rows_of(study, has_oracle=await self._oracle.look())
        # What cannot be trained is not made: its cells fail, whatever comes of the others.
        trainer, dataset = self.context.clients.trainer, self.datasets[study.seeds[0]]
        unfit = await unfit_rows(trainer, study, dataset, rows, self.test_sets)
        # Training takes its steps' places before anything else runs, because its order varies.
        places = {(seed, row.key): Step("train") for seed in study.seeds for row in rows}
        tasks: list[asyncio.Task[None]] = []
        try:
            for seed in study.seeds:
                for row in rows:
                    if row.key in unfit:
                        self._leave_out(row, seed, unfit[row.key])
                        continue
                    try:
                        uri = await self._images(row, seed)
                    except GivenUp as failure:
                        self._fail(row, seed, "images", str(failure))
                        continue
                    work = self._train(places[seed, row.key], row, seed, uri)
                    tasks.append(asyncio.create_task(work))
                    _raise_failed(tasks)
            await self._finish(tasks)
        finally:
            await _stop(tasks)
        self._check_compared(rows)
        self.progress.child = None
        self.progress.part = ""
        self.progress.start("report", 1, "reports")
        await step("report", lambda: self._report(rows))
        self.progress.finish()

    def _fail(self, row: Arm, seed: int, stage: str, message: str) -> None:
        self.failures.append(StudyFailure(row.label, seed, stage, message))
        self.progress.notice(
            f"warning: {row.label}, seed {seed} failed ({stage}): {message}"[:1000]
        )

    def _leave_out(self, row: Arm, seed: int, why: str) -> None:
        self._pace.left_out(row.key, seed)
        self._fail(row, seed, "training", why)

    def _check_compared(self, rows: tuple[Arm, ...]) -> None:
        """Raises Precondition if there is nothing to report: no arm, or none to compare with."""
        done = {run.arm.key for run in self.runs}
        compared = {row.setting for row in rows if row.method == BASELINE and row.key in done}
        methods = [row for row in rows if row.method not in REFERENCES]
        if any(row.key in done and row.setting in compared for row in methods):
            return
        first = self.failures[0]
        raise Precondition(
            f"no row of the study came to a result; first {first.label}, seed {first.seed}: "
            f"{first.message}",
            subject=self.study.name,
            reason="NO_RESULT",
        )

    async def _images(self, row: Arm, seed: int) -> str:
        """Returns the manifest of the images that a row adds; "" for none."""
        if row.method in (BASELINE, MATCHED):
            return ""
        self.progress.part = f"{row.method}, seed {seed}"
        count = added_per_class(self.study, row)
        if uri := row.images.added_manifest_uri:
            await self._fidelity.look(row, seed, uri)
            return uri
        if row.method == ORACLE:
            uri = await self._attempts.of(
                f"oracle-{seed}-{count}", lambda: self._oracle.images(seed, count)
            )
            await self._fidelity.look(row, seed, self._oracle.whole(seed))
            return uri
        return await self._augment(row, seed)

    async def _augment(self, row: Arm, seed: int) -> str:
        name = (augmentation := augmentation_of(self.study, row, seed)).name
        if name in self._given_up:
            raise GivenUp(self._given_up[name])
        try:
            await self._attempts.of(name.rpartition("/")[2], lambda: self._make(augmentation))
        except GivenUp as failure:
            self._given_up[name] = str(failure)
            raise
        finished = await asyncio.to_thread(self.context.catalog.finished, name)
        assert isinstance(finished, Augmentation) and finished.result is not None
        for text in finished.result.notices:
            self.progress.notice(text)
        record = await asyncio.to_thread(
            record_of, self.context.store, self.study, row, seed, name, finished.result
        )
        if record.accepted_count:
            await self._fidelity.look(row, seed, finished.result.manifest_uri)
        self.augmentations.append(record)
        return record.manifest_uri if record.accepted_count else ""

    async def _make(self, augmentation: Augmentation) -> None:
        name = augmentation.name
        self.progress.child = self.context.begin(name)

        def look() -> bool:
            self.context.catalog.claim(augmentation, self.study.name)
            return self.context.catalog.finished(name) is not None

        # Rows that only train differently, or take fewer images, share them.
        if not await step("look", lambda: asyncio.to_thread(look)):
            await run_augmentation(self.context, augmentation)

    async def _train(self, place: Step, row: Arm, seed: int, synthetic_uri: str) -> None:
        async with self._room:
            result = await place.run(lambda: self._test(row, seed, synthetic_uri))
        if failure := result.get("failure"):
            self._leave_out(row, seed, failure)
            return
        tested = Tested.of(result)
        self._pace.finished(tested.recipe.step_count, row.key, seed)
        self.runs.append(
            RunRecord(
                arm=row,
                seed=seed,
                accuracy=tested.accuracy,
                class_accuracies=tested.class_accuracies,
                real_image_count=tested.real_image_count,
                added_image_count=tested.synthetic_image_count,
                test_image_count=tested.test_image_count,
                seconds=tested.seconds,
                stage_seconds=self._oracle.seconds[seed] if row.method == ORACLE else {},
                recipe=tested.recipe.plain(),
                validation_accuracy=tested.validation_accuracy,
                test_sets=tested.test_sets,
                done_steps=tested.done_steps,
                chosen_step=tested.chosen_step,
                name=tested.name,
                metrics_uri=tested.metrics_uri,
                top5_accuracy=tested.top5_accuracy,
                calibration_error=tested.calibration_error,
            )
        )

    async def _test(self, row: Arm, seed: int, synthetic_uri: str) -> dict[str, Any]:
        """Returns what a classifier came to, or why there is none: a failure that would come again
        is a result, too."""
        study, trainer = self.study, self.context.clients.trainer
        dataset = self.datasets[seed]
        # A row that got no images is trained as the baseline is, and says how many it got.
        strategy = row.strategy if synthetic_uri else ""
        recipe = recipe_of(study, dataset, row)
        content = await asyncio.to_thread(_content, self.context.store, synthetic_uri)
        code = await trainer.code_digest()
        # Not of the row: those that train on the very same manifest share one run. Two manifests
        # may say the same; the trainer takes an id for one of them alone.
        plain, sets = plain_of(study), [list(one) for one in self.test_sets]
        images = [synthetic_uri, content]
        key = digest(study.name, strategy, images, seed, plain, recipe.plain(), code, *sets)
        wanted = TrainingRequest(
            run_id=f"{study.name.removeprefix('studies/')}-{key[:24]}",
            manifest_uri=dataset.manifest_uri,
            synthetic_uri=synthetic_uri,
            strategy=strategy,
            recipe=recipe,
            seed=seed,
            validation=dataset.has_validation,
            test_sets=self.test_sets,
        )
        try:
            return asdict(await trainer.train(wanted, self._pace.of(row.key, seed)))
        except ServiceError as error:
            if not is_final(error):
                raise
            return {"failure": error.message}
        except asyncio.CancelledError:
            # When the gateway ends, the run continues and is found again; here it is not awaited.
            if not self.context.closing.is_set():
                await trainer.cancel(wanted.run_id)
            raise

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        self.progress.child = None
        self._pace.begin(len(tasks))
        for finished in asyncio.as_completed(tasks):
            await finished

    async def _report(self, rows: tuple[Arm, ...]) -> None:
        asked = self.context, self.study, self.datasets, rows
        came = self.runs, self.augmentations, self.failures, self._fidelity.records
        notes = (*self._oracle.notes, *self._fidelity.notes)
        await asyncio.to_thread(write_report, *asked, *came, notes)


async def run_study(context: Context, study: Study) -> None:
    """Runs a study and writes it into the catalog."""
    progress = context.begin(study.name)
    await check_models(context, study)
    datasets = await asyncio.to_thread(datasets_of, context.catalog, study)
    test_sets = await asyncio.to_thread(test_sets_of, context.catalog, study)
    await Studying(context, study, datasets, progress, test_sets).run()


def _content(store: ObjectStore, uri: str) -> str:
    """Returns the digest of a manifest, so that other images are another training run."""
    return digest_of_hex(chunks_of(store, to_key(uri))) if uri else ""


def _raise_failed(tasks: list[asyncio.Task[None]]) -> None:
    """Raises what a finished task failed with, rather than working on for nothing."""
    for task in tasks:
        if task.done():
            task.result()


async def _stop(tasks: list[asyncio.Task[Any]] | list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    waiting: list[Awaitable[Any]] = list(tasks)
    await asyncio.gather(*waiting, return_exceptions=True)
