"""The durable work of an import: one step, since repeating it costs little and changes nothing."""

import asyncio

from gateway.datasets.importer import import_dataset
from gateway.resources import Dataset
from gateway.run.context import Context
from gateway.run.naming import with_display_names
from gateway.run.steps import step


async def run_import(context: Context, dataset: Dataset) -> None:
    """Imports a dataset and writes it into the catalog."""
    progress = context.begin(dataset.name)

    def read() -> Dataset:
        return import_dataset(
            dataset,
            store=context.store,
            roots=context.settings.import_roots,
            report=lambda stage, done, total: progress.set(stage, done, total, "images"),
        )

    async def work() -> None:
        imported = await asyncio.to_thread(read)
        named = await with_display_names(context.clients.prompter, imported)
        await asyncio.to_thread(context.catalog.finish, named)

    await step("import", work)
    progress.finish()
