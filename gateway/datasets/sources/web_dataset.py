"""WebDataset shards: .tar files in which KEY.jpg stands beside KEY.cls or KEY.json.

Which files belong together and which of them is the photograph: see `datafiles.samples`.
img2dataset's output is of this kind; its .parquet and _stats.json files beside the shards are not
needed and not read.
"""

from collections.abc import Iterator
from functools import partial

from datafiles.archives import Archive, Span
from datafiles.facts import facts_of
from datafiles.places.place import MAX_BYTES, Place
from datafiles.rejected import RejectedFile
from datafiles.samples import Chosen, Member, Sample, samples
from datafiles.shards import shards_among
from datafiles.suffixes import is_archive
from datafiles.texts import check_size
from gateway.datasets.source import Entry, Found


class WebDatasetSource:
    """Takes the class from class_name or label of the .json and from the .cls."""

    id = "webdataset"

    def fits(self, place: Place, chosen: Chosen) -> bool:
        return is_archive(place.uri) or any(
            isinstance(found, str) and is_archive(found) for found in place.files()
        )

    def scan(self, place: Place, field: str, chosen: Chosen) -> Iterator[Found]:
        if is_archive(place.uri):
            yield from _scan_shard(place, "", chosen)
            return
        files = list(place.files())
        yield from (found for found in files if isinstance(found, RejectedFile))
        for path in shards_among([found for found in files if isinstance(found, str)]):
            if is_archive(path):
                yield from _scan_shard(place, path, chosen)
            else:
                message = f"{path} is a table among archives; import tables by themselves"
                yield RejectedFile(path, "MIXED_SHARDS", message)


def _scan_shard(place: Place, shard: str, chosen: Chosen) -> Iterator[Found]:
    """Yields what a shard holds. One that is damaged is listed, after what could be read of it."""
    name = shard or place.uri.rpartition("/")[2]
    try:
        with place.open(shard) as file:
            archive = Archive(file, f"{name}/")
            for sample in samples(archive, chosen):
                yield from _found(place, shard, archive, sample, chosen)
    except OSError as error:
        yield RejectedFile(name, "BAD_SHARD", f"{name} cannot be read: {error.strerror or error}")
        return
    yield from archive.left_out
    if archive.packing:
        yield RejectedFile(name, "BAD_SHARD", f"{name} {archive.packing}")
    elif archive.damage is not None:
        damage = archive.damage
        message = f"{name} is damaged from here on: {damage}; get it again"
        yield RejectedFile(name, "BAD_SHARD", message)


def _found(
    place: Place, shard: str, archive: Archive, sample: Sample[Span], chosen: Chosen
) -> Iterator[Found]:
    yield from sample.left_out
    image = sample.image
    if image is None:
        if not sample.left_out:
            yield sample.why_without_image()
        return

    def read(member: Member[Span]) -> bytes:
        check_size(member.where.size)
        return archive.read(member)

    facts = facts_of(sample, read, chosen)
    yield from facts.problems
    if any(problem.path == image.name for problem in facts.problems):
        return
    span = image.where
    if not facts.label.text or (facts.problems and not facts.label.name):
        # What cannot be read might have named the number.
        why = "; the files that could name it cannot be used" if facts.problems else ""
        message = f"{image.name} has no class{why}; add class_name to its .json, or a .cls"
        if "/" in image.name.removeprefix(f"{shard or place.uri.rpartition('/')[2]}/"):
            message += "; if its folder is the class, unpack the archive"
        yield RejectedFile(image.name, "NO_CLASS", message)
    elif span.size > MAX_BYTES:
        message = f"{image.name} has {span.size} bytes; at most {MAX_BYTES} are read"
        yield RejectedFile(image.name, "TOO_MANY_BYTES", message)
    else:
        read_image = partial(place.read_part, shard, span.offset, span.size)
        yield Entry(image.name, facts.label.text, read_image)


SOURCE = WebDatasetSource()
