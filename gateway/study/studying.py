"""The durable work of a study: every row's images, classifiers, then results and report.

Images are made one augmentation after the other, since one keeps the generator full; classifiers
are trained meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.api.resources import (
    Augmentation,
    AugmentationResult,
    Dataset,
    Study,
    TrainingRecipe,
)
from gateway.augment.augmenting import run_augmentation
from gateway.augment.tables import Manifest
from gateway.augment.used_models import check_models
from gateway.clients.trainer import Tested, TrainingRequest
from gateway.context import Context
from gateway.digests import digest, digest_of_hex
from gateway.durable.progress import Progress
from gateway.durable.steps import Step, step
from gateway.export.results import BASELINE, ORACLE
from gateway.study import Arm, AugmentationRecord, RunRecord
from gateway.study.oracle import IndexedPool, look_at_pool, make_oracle
from gateway.study.reporting import write_report
from gateway.study.study_rows import arm_of, augmentation_of, plain_of
from gateway.study.training_progress import TrainingProgress
from servicekit.storage import ObjectStore, chunks_of, to_key


@dataclass
class Studying:
    """The work of one study. Records are filled as rows finish."""

    context: Context
    study: Study
    dataset: Dataset
    progress: Progress
    runs: list[RunRecord] = field(default_factory=list)
    augmentations: list[AugmentationRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Of the oracle's images, by seed and stage.
    oracle_seconds: dict[int, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(self.context.settings.training_runs_in_flight)
        self._pace = TrainingProgress(self.progress)

    async def run(self) -> None:
        """Does all of it."""
        study = self.study
        pool = await self._indexed_pool()
        arms = [arm_of(arm) for arm in study.arms]
        oracle = [Arm(ORACLE, "combined")] if pool and pool.is_named else []
        rows = [Arm(BASELINE, "real"), *oracle, *arms]
        # Training takes its steps' places before anything else runs, because its order varies.
        places = {(seed, row.key): Step("train") for seed in study.seeds for row in rows}
        tasks: list[asyncio.Task[None]] = []
        try:
            for seed in study.seeds:
                for row in rows:
                    uri = await self._images(row, seed, pool)
                    work = self._train(places[seed, row.key], row, seed, uri)
                    tasks.append(asyncio.create_task(work))
                    _raise_failed(tasks)
            await self._finish(tasks)
        finally:
            await _stop(tasks)
        self.progress.child = None
        self.progress.part = ""
        self.progress.start("report", 1, "reports")
        await step("report", self._report)
        self.progress.finish()

    async def _indexed_pool(self) -> IndexedPool | None:
        if not (uri := self.study.pool_uri):
            return None

        async def look() -> dict[str, Any]:
            pool = await look_at_pool(self.context, self.dataset, self.study, self.progress)
            return asdict(pool)

        pool = IndexedPool(**await step("pool", look))
        if pool.left_out:
            self.notes.append(f"{pool.left_out[0].upper()}{pool.left_out[1:]}.")
        if pool.is_numbered:
            self.notes.append(
                f"There is no oracle row: the pool {uri} numbers its classes, and numbers of one "
                "data set say nothing in another. Give it the names: a column class_name, the "
                "schema metadata that Hugging Face's datasets write, or --pool-names FILE "
                "(pool_class_names)."
            )
        elif not pool.is_named:
            self.notes.append(
                f"There is no oracle row: the pool {uri} says of no image that it shows one of "
                "these classes. It would take that from a column class_name or label with the "
                "classes' names, from .cls or .json files, or from a folder per class."
            )
        return pool

    async def _images(self, row: Arm, seed: int, pool: IndexedPool | None) -> str:
        """Returns the manifest of the images that a row adds; "" for none."""
        if row.method == BASELINE:
            return ""
        self.progress.part = f"{row.method}, seed {seed}"
        if row.method == ORACLE and pool:
            return await self._draw(pool, seed)
        return await self._augment(row, seed)

    async def _draw(self, pool: IndexedPool, seed: int) -> str:
        self.progress.child = None
        self.progress.start("oracle", 1, "manifests")
        key, each = f"{self.study.name}/oracle-{seed}.parquet", self.study.images_per_class
        made = await step(
            "oracle", lambda: make_oracle(self.context, self.dataset, pool, each, seed, key)
        )
        # One index serves all seeds.
        index = {} if self.oracle_seconds else {"index": pool.seconds}
        self.oracle_seconds[seed] = {"oracle": made["seconds"], **index}
        wanted = each * len(self.dataset.classes)
        if made["count"] < wanted:
            self.notes.append(
                f"The oracle of seed {seed} has {made['count']} of {wanted} images: the pool has "
                "no more that are labelled with these classes and no copies."
            )
        return str(made["manifest_uri"]) if made["count"] else ""

    async def _augment(self, row: Arm, seed: int) -> str:
        augmentation = augmentation_of(self.study, row, seed)
        name = augmentation.name
        self.progress.child = self.context.begin(name)

        async def is_finished() -> bool:
            await asyncio.to_thread(self.context.catalog.claim, augmentation)
            return await asyncio.to_thread(self.context.catalog.finished, name) is not None

        # Rows that differ in strategy only share their images.
        if not await step("look", is_finished):
            await run_augmentation(self.context, augmentation)
        finished = await asyncio.to_thread(self.context.catalog.finished, name)
        assert isinstance(finished, Augmentation) and finished.result is not None
        for text in finished.result.notices:
            self.progress.notice(text)
        record = await asyncio.to_thread(
            _record, self.context.store, row, seed, name, finished.result
        )
        self.augmentations.append(record)
        return record.manifest_uri if record.accepted_count else ""

    async def _train(self, place: Step, row: Arm, seed: int, synthetic_uri: str) -> None:
        async with self._room:
            result = await place.run(lambda: self._test(row, seed, synthetic_uri))
        tested = Tested(**{**result, "recipe": TrainingRecipe(**result["recipe"])})
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
                stage_seconds=self.oracle_seconds[seed] if row.method == ORACLE else {},
                recipe=tested.recipe.plain(),
            )
        )

    async def _test(self, row: Arm, seed: int, synthetic_uri: str) -> dict[str, Any]:
        study = self.study
        # A row that got no images is trained as the baseline is, and says how many it got.
        strategy = row.strategy if synthetic_uri else ""
        content = await asyncio.to_thread(_content, self.context.store, synthetic_uri)
        code = await self.context.clients.trainer.code_digest()
        key = digest(study.name, row.method, strategy, content, seed, plain_of(study), code)
        wanted = TrainingRequest(
            run_id=f"{study.name.removeprefix('studies/')}-{key[:24]}",
            manifest_uri=self.dataset.manifest_uri,
            synthetic_uri=synthetic_uri,
            strategy=strategy,
            recipe=study.training,
            seed=seed,
        )
        trainer = self.context.clients.trainer
        try:
            return asdict(await trainer.train(wanted, self._pace.of(row.key, seed)))
        except asyncio.CancelledError:
            # When the gateway ends, the run goes on and is found again; nobody waits for it here.
            if not self.context.closing.is_set():
                await trainer.cancel(wanted.run_id)
            raise

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        self.progress.child = None
        self._pace.begin(len(tasks))
        for finished in asyncio.as_completed(tasks):
            await finished

    async def _report(self) -> None:
        await asyncio.to_thread(
            write_report,
            self.context,
            self.study,
            self.dataset,
            self.runs,
            self.augmentations,
            self.notes,
        )


async def run_study(context: Context, study: Study) -> None:
    """Runs a study and writes it into the catalog."""
    progress = context.begin(study.name)
    await check_models(context, study)
    dataset = await asyncio.to_thread(context.catalog.dataset, study.dataset)
    await Studying(context, study, dataset, progress).run()


def _content(store: ObjectStore, uri: str) -> str:
    """Returns the digest of a manifest, so that other images are another training run."""
    return digest_of_hex(chunks_of(store, to_key(uri))) if uri else ""


def _record(
    store: ObjectStore, row: Arm, seed: int, name: str, result: AugmentationResult
) -> AugmentationRecord:
    reasons: Counter[str] = Counter()
    for table in Manifest(store, result.rejected_uri).groups("reason"):
        reasons.update(str(reason) for reason in table.column("reason").to_pylist())
    return AugmentationRecord(
        arm=row,
        seed=seed,
        name=name,
        manifest_uri=result.manifest_uri,
        rejected_uri=result.rejected_uri,
        accepted_count=result.accepted_count,
        rejected_count=result.rejected_count,
        rejected_reasons=dict(reasons),
        shortfalls=tuple(
            f"{s.class_name}: {s.made} of {s.wanted}; {s.reason}" for s in result.shortfalls
        ),
        seconds=dict(result.seconds),
        prompts=result.prompts,
        lengths=result.lengths,
        recognition=result.recognition,
    )


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
