"""The work of `variegate merge`: read the outputs, decide, write the new one beside its place."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from gateway.cli import outputs
from gateway.cli.execute import CommandResult
from gateway.cli.failures import CliError
from gateway.cli.foreign import import_foreign, read_foreign
from gateway.cli.held import Gathering, read_output, rejected_in
from gateway.cli.inputs import USUAL, named_digest
from gateway.cli.merging import Classes, Merged, Part, classes_of
from gateway.cli.session import Session
from gateway.cli.steps import import_images
from servicekit.storage import ObjectStore, to_uri

if TYPE_CHECKING:
    from rich.console import Console

_COUNTS = {
    "copy_count": "copies of others left out",
    "rejected_count": "that a person rejected left out",
    "missing_count": "of its manifest are no longer there",
    "moved_count": "moved by hand have the class of their new folder",
    "unfiled_count": "that were moved to no class's folder left out",
    "added_count": "that its manifest does not name, or of a test split, left out",
}


@dataclass(frozen=True)
class MergeArguments:
    """What was asked for."""

    places: tuple[Path, ...]
    out: Path
    originals: str | None
    form: str
    overwrite: bool

    def output_id(self) -> str:
        """What the output folder belongs to."""
        places = [str(place.resolve()) for place in self.places]
        return named_digest("merge", [places, self.originals, self.form])


async def imported(session: Session, args: MergeArguments) -> CommandResult:
    """Merges what has to be imported first: folders of other tools, and originals."""
    store = session.connection.need_store()
    manifests = await import_foreign(session, args.places, USUAL)
    if args.originals:
        dataset = await import_images(session, args.originals, None)
        manifests[Path(args.originals)] = dataset.manifest_uri
    session.view.say(f"writing {args.out}")
    return await asyncio.to_thread(run, args, manifests, store)


def run(
    args: MergeArguments, manifests: Mapping[Path, str], store: ObjectStore | None
) -> CommandResult:
    """Merges the places; `manifests` are those of what was imported into `store`."""
    from gateway.export import export_augmentation

    parts = _parts(args, manifests, store)
    classes = classes_of(parts)
    merged = Merged(parts, classes, store)
    staged = _staged(args.out)
    shutil.rmtree(staged, ignore_errors=True)  # Of a process that was killed.
    place = outputs.OutputFolder(staged, args.output_id(), {})
    try:
        summary = export_augmentation(
            merged,
            to_uri(Merged.MANIFEST),
            staged,
            dataset_uri=to_uri(Merged.PARENTS),
            form=args.form,
            overwrite=True,
        )
        outputs.finish(place, **_facts(args))
        _put_in_place(args, staged)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    document = _document(args, parts, classes, merged)
    document |= {"class_counts": dict(summary.class_counts), "notes": list(summary.notes)}
    return CommandResult(document, lambda console: _print(console, document))


def _parts(
    args: MergeArguments, manifests: Mapping[Path, str], store: ObjectStore | None
) -> list[Part]:
    """Reads the originals first, so that of equal files theirs is taken."""
    own = [place for place in args.places if place not in manifests]
    rejected, gathering, parts = rejected_in(own), Gathering(), []
    originals = [Path(args.originals)] if args.originals else []
    for place in (*originals, *args.places):
        if place in manifests and store is not None:
            kind = "original" if place in originals else "external"
            held = read_foreign(store, place, manifests[place], kind)
        else:
            held = read_output(place, rejected)
        parts.append(Part(held, gathering.add(held), place not in manifests))
    return parts


def _facts(args: MergeArguments) -> dict[str, Any]:
    """What the marker says: also where parents are, if all outputs were made from one folder."""
    sources = {source for one in args.places if (source := outputs.source_of(one))}
    merged = [str(place.resolve()) for place in args.places]
    return {"merged": merged, "source": str(*sources) if len(sources) == 1 else ""}


def _staged(out: Path) -> Path:
    return out.absolute().parent / f".{out.absolute().name}.merging"


def _put_in_place(args: MergeArguments, staged: Path) -> None:
    """Gives the whole folder its name; what it replaces is moved away first, and then deleted."""
    out, old = args.out.absolute(), staged.with_suffix(".replaced")
    outputs.check(out, args.output_id(), resume=False, overwrite=args.overwrite)
    shutil.rmtree(old, ignore_errors=True)
    if out.is_dir() and any(out.iterdir()):
        out.rename(old)
    staged.rename(out)
    parent = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    shutil.rmtree(old, ignore_errors=True)


def _document(
    args: MergeArguments, parts: list[Part], classes: Classes, merged: Merged
) -> dict[str, Any]:
    kinds = Counter(image.row["source"] for part in parts for image in part.images)
    if not kinds.total():
        raise CliError("There is no image to merge.", exit_code=3, reason="NOTHING_TO_MERGE")
    return {
        "out": str(args.out),
        "image_count": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "class_names": sorted(classes.labels, key=classes.labels.__getitem__),
        "is_renumbered": classes.is_renumbered,
        "renamed_count": merged.renamed_count,
        "sources": [
            {
                "place": str(part.holding.place),
                "used_count": len(part.images),
                **{name: part.holding.counts[name] for name in _COUNTS},
            }
            for part in parts
        ],
    }


def _print(console: "Console", document: dict[str, Any]) -> None:
    for source in document["sources"]:
        texts = [f"{source['place']}: {source['used_count']:,} images"]
        texts += [f"{source[name]:,} {text}" for name, text in _COUNTS.items() if source[name]]
        console.print(escape(", ".join(texts)))
    if document["is_renumbered"]:
        console.print("  the outputs number their classes differently: labels are new, by name")
    if document["renamed_count"]:
        console.print(
            f"  {document['renamed_count']:,} images had the id of another picture: theirs ends "
            "with their digest now"
        )
    for note in document["notes"]:
        console.print(f"  {escape(note)}")
    count, classes = document["image_count"], len(document["class_names"])
    console.print(
        f"[bold green]✓[/bold green] {count:,} images of {classes:,} classes in "
        f"{escape(document['out'])}"
    )
