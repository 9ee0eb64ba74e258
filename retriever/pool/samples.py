"""Rows of the samples of archives and of loose files."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from datafiles.facts import facts_of
from datafiles.labels import CLASS_NAME, LABEL
from datafiles.rejected import RejectedFile
from datafiles.samples import Member, Sample
from retriever.pool.base import PoolRow, class_of, encodable, scalars

T = TypeVar("T")


def rows_of(
    sample: Sample[T],
    read: Callable[[Member[T]], bytes],
    folder: str,
    *,
    image_uri: str = "",
) -> Iterator[PoolRow | RejectedFile]:
    """Yields the row of a sample, and its files that are in none.

    The image is read unless its URI is given. `txt` is the caption, `cls` the label, `json` holds
    both and whatever else is known; see `class_of` for what names the class. `read` may raise
    Unreadable for all but the image.
    """
    yield from sample.left_out
    if sample.image is None:
        if not sample.left_out:
            yield sample.why_without_image()
        return
    facts = facts_of(sample, read)
    number, class_name = class_of(facts.label, folder)
    if any(problem.path == sample.image.name for problem in facts.problems):
        class_name = ""  # Labels that contradict each other, which the folder does not decide.
    known = (CLASS_NAME, LABEL, "caption")
    yield PoolRow(
        data=None if image_uri else read(sample.image),
        image_uri=image_uri,
        caption=encodable(facts.caption),
        label=number,
        class_name=class_name,
        extras=scalars({name: one for name, one in facts.notes.items() if name not in known}),
        name=sample.image.name,
        problems=facts.problems,
    )


def folder_of(path: str) -> str:
    """Returns the name of the folder that a file is in; "" if it is in none."""
    return path.rpartition("/")[0].rpartition("/")[2].strip(".")
