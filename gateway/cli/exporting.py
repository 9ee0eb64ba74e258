"""Brings what was made from the object store into folders of this machine."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cli.session import Session


def check_format(form: str) -> None:
    """Raises CliError for an unknown export format."""
    from gateway.cli.failures import unknown
    from gateway.export import format_ids

    if form not in format_ids():
        raise unknown("format", form, format_ids(), listing="They are the values of --format.")


async def export(
    session: "Session",
    manifest_uri: str,
    dataset_uri: str,
    out: Path,
    form: str,
    *,
    replaces: bool = False,
) -> tuple[str, ...]:
    """Writes an augmentation of a dataset in a format, with its manifest; whole files there stay.

    Returns what is worth a note, such as a class whose folder has another name; it is also said.

    The folder is claimed (`outputs.claim`), so what it holds is this run's: the marker alone, or
    an export that was stopped, which goes on. With `replaces` it may be one of another manifest.
    """
    from gateway.export import export_augmentation

    session.view.say(f"writing {out}")
    store = session.connection.need_store()
    begun = (out / ".manifest.sha256").exists()
    summary = await asyncio.to_thread(
        export_augmentation,
        store,
        manifest_uri,
        out,
        dataset_uri=dataset_uri,
        form=form,
        resume=begun,
        overwrite=not begun,
        replaces=begun and replaces,
    )
    for note in summary.notes:
        session.view.say(f"note: {note}")
    return summary.notes


async def fetch(
    session: "Session", uri: str, path: Path, change: Callable[[bytes], bytes] | None = None
) -> None:
    """Copies one object into a file, as `change` makes it."""
    from servicekit.storage import to_key

    store = session.connection.need_store()
    data = await asyncio.to_thread(store.get, to_key(uri))
    staged = path.with_name(f"{path.name}.new")
    await asyncio.to_thread(staged.write_bytes, change(data) if change else data)
    staged.replace(path)
