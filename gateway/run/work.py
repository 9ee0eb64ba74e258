"""Which work a subject is."""

import asyncio

from gateway.clients.patience import note_waits
from gateway.resources import Augmentation, Dataset
from gateway.run.augmenting import run_augmentation
from gateway.run.context import Context
from gateway.run.importing import run_import
from gateway.run.studying import run_study


async def do(context: Context, subject: str) -> None:
    """Does the work that was asked for under a name."""
    context.progress.pop(subject, None)
    note_waits(context.begin(subject).waits)
    resource = await asyncio.to_thread(context.catalog.requested, subject)
    if isinstance(resource, Dataset):
        await run_import(context, resource)
    elif isinstance(resource, Augmentation):
        await run_augmentation(context, resource)
    else:
        await run_study(context, resource)
