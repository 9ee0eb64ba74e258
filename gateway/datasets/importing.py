"""The durable work of an import: one step, since repeating it costs little and changes nothing."""

import asyncio
import threading

from gateway.api.resources import Dataset
from gateway.context import Context
from gateway.datasets.importer import import_dataset
from gateway.datasets.naming_classes import with_display_names
from gateway.durable.steps import step
from servicekit.errors import Cancelled


async def run_import(context: Context, dataset: Dataset) -> None:
    """Imports a dataset and writes it into the catalog."""
    progress = context.begin(dataset.name)
    stopped = threading.Event()

    def report(stage: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise Cancelled("the import was stopped; repeating the request continues it")
        progress.set(stage, done, total, "images")

    def read() -> Dataset:
        return import_dataset(
            dataset, store=context.store, roots=context.settings.import_roots, report=report
        )

    async def work() -> None:
        imported = await asyncio.to_thread(read)
        named = await with_display_names(context.clients.prompter, imported)
        await asyncio.to_thread(context.catalog.finish, named)

    try:
        await step("import", work)
    finally:
        # A thread cannot be interrupted, and the end of the process waits for it.
        stopped.set()
    progress.finish()
