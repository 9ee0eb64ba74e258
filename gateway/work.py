"""Which work a subject is."""

import asyncio

from gateway.api.resources import Augmentation, Dataset
from gateway.augment.augmenting import run_augmentation
from gateway.clients.patience import note_waits
from gateway.context import Context
from gateway.datasets.importing import run_import
from gateway.study.studying import run_study


async def do(context: Context, subject: str) -> None:
    """Does the work that was asked for under a name, unless it is done: of two gateways that were
    asked at once, or one after another at its very end, one finds that there is nothing to do."""
    if await asyncio.to_thread(context.catalog.finished, subject) is not None:
        return
    context.progress.pop(subject, None)
    note_waits(context.begin(subject).waits)
    resource = await asyncio.to_thread(context.catalog.requested, subject)
    if isinstance(resource, Dataset):
        await run_import(context, resource)
    elif isinstance(resource, Augmentation):
        await run_augmentation(context, resource)
    else:
        await run_study(context, resource)
