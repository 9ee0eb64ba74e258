"""The durable work of an import: one step, since repeating it costs little and changes nothing."""

import asyncio

from gateway.datasets.importer import import_dataset
from gateway.resources import Dataset
from gateway.run.context import Context
from gateway.run.durable import step


async def run_import(context: Context, dataset: Dataset) -> None:
    """Imports a dataset and writes it into the catalog."""
    progress = context.begin(dataset.name)

    def work() -> None:
        imported = import_dataset(
            dataset,
            store=context.store,
            roots=context.settings.import_roots,
            report=lambda stage, done, total: progress.set(stage, done, total, "images"),
        )
        context.catalog.finish(imported)

    await step("import", lambda: asyncio.to_thread(work))
    progress.finish()
