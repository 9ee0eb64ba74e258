"""The work of `variegate augment`: ask the gateway, fetch the images, report the result."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import estimating, outputs, planning, steps
from gateway.cli.arguments import AugmentArguments, RunOptions
from gateway.cli.contact_sheet import images_of, write_sheet
from gateway.cli.execute import CommandResult
from gateway.cli.failures import SHORTFALL, CliError
from gateway.cli.inputs import local_path
from gateway.cli.known import check_methods, methods_of
from gateway.cli.room import disks
from gateway.cli.session import Session
from gateway.cli.tables import table
from gateway.cli.weakness import Accuracies
from gateway.cli.work import unkept
from gateway.cli.work.reviewed import Reviewed

if TYPE_CHECKING:
    from rich.console import Console


async def run(session: Session, args: AugmentArguments, run_options: RunOptions) -> CommandResult:
    """Says the plan, makes the images and writes them into the output folder."""
    session.connection.need_store()
    check_methods(await methods_of(session), args.asked(), has_pool=bool(args.pool))
    models = await steps.models_of(session, [args.method], deterministic=args.deterministic)
    pool_uri = await steps.store_pool(session, args.pool)
    dataset = await steps.import_images(
        session,
        args.source,
        args.test,
        args.subset,
        display_names=args.display_names,
        refuse_leaks=args.refuse_leaks,
        reading=args.reading,
    )
    steps.check_classes(args.class_names, dataset)
    out = run_options.out
    reviewed = Reviewed.of(out, drops=run_options.overwrite)
    review = reviewed.review
    run_id = args.run_id(models, review.digest)
    # Ids are of what was asked for; what each class gets follows from it.
    wanted = _to_pb(_weighted(session, args, dataset), pool_uri)
    wanted.preview_count = run_options.preview
    wanted.rejections_uri = await reviewed.store(session)
    known = await estimating.estimate(session, dataset.name, wanted, run_id)
    plan = planning.RunPlan(
        estimating.by_method(args.method, known), load=planning.load_of(session)
    )
    is_folder = run_options.form == "imagefolder"
    room = disks(session, plan, out, is_folder=is_folder, exports=True)
    if run_options.plan:
        return planning.outcome(dataset, plan, room)
    place = outputs.OutputFolder(
        out, run_options.output_id(args.output_id(run_options.form)), models
    )
    asks = not outputs.is_begun(place) and not outputs.is_reviewed(out)
    await planning.agree(session, dataset, plan, room, yes=run_options.yes, asks=asks)
    reviewed.say(session)
    with reviewed.alone():
        outputs.claim(place, resume=run_options.resume, overwrite=run_options.overwrite)
    own_id = run_id + (f"-{run_options.preview}" if run_options.preview else "")
    made = await _make(session, dataset, own_id, wanted)
    with reviewed.alone():
        notes = await reviewed.export(session, made, dataset, run_options.form)
        if made.result.HasField("kept"):
            await asyncio.to_thread(unkept.write, session.connection.need_store(), made, out)
    document = {**_document(dataset, made, out), "notes": list(notes)}
    facts: dict[str, Any] = {
        "augmentation": made.name,
        "accepted": made.result.accepted_count,
        "source": str(local_path(args.source) or ""),
        "review": review.digest,
    }
    if run_options.preview:
        sheet = await asyncio.to_thread(_write_sheet, session, made, out)
        document["contact_sheet"] = list(map(str, sheet))
        facts["preview"] = run_options.preview
    outputs.finish(place, **facts)
    code = SHORTFALL if made.result.shortfalls else steps.shortfall(dataset)
    return CommandResult(document, lambda console: _print(console, document), code)


def _weighted(session: Session, args: AugmentArguments, dataset: pb.Dataset) -> AugmentArguments:
    """With --like: the arguments with what each class gets, which is said."""
    if not args.accuracies:
        return args
    names = [one.class_name for one in dataset.classes]
    chosen = [name for name in names if not args.class_names or name in args.class_names]
    counts = Accuracies(args.accuracies).counts(chosen, args.per_class)
    most = sorted(counts.items(), key=lambda pair: -pair[1])[:5]
    shown = ", ".join(f"{name} {count:,}" for name, count in most)
    session.view.say(f"weak classes get more: {shown}{', ...' * (len(counts) > len(most))}")
    if others := sorted(set(args.accuracies) - set(names)):
        session.view.say(
            f"warning: --like has {len(others)} classes that are not here: {others[0]!r}"
        )
    return replace(args, class_counts=counts)


async def _make(
    session: Session, dataset: pb.Dataset, own_id: str, wanted: pb.Augmentation
) -> pb.Augmentation:
    """Has the images made. Raises CliError if none was accepted."""
    request = pb.CreateAugmentationRequest(
        parent=dataset.name, augmentation_id=own_id, augmentation=wanted
    )
    operation = await session.call(session.gateway.CreateAugmentation, request)
    session.view.say(f"operation {operation.name}")
    made = await session.finished(operation, pb.Augmentation())
    if not made.result.accepted_count:
        raise CliError(
            "No image was accepted: " + _reasons(made),
            exit_code=1,
            remedy="Look at the reasons; other --param values, --guidance or --steps may help.",
            reason="NOTHING_MADE",
        )
    return made


def _write_sheet(session: Session, made: pb.Augmentation, out: Path) -> list[Path]:
    store = session.connection.need_store()
    return write_sheet(out, images_of(store, made.result.manifest_uri))


def _to_pb(args: AugmentArguments, pool_uri: str) -> pb.Augmentation:
    return pb.Augmentation(
        method=args.method,
        images_per_class=args.per_class,
        seed=args.seed,
        parameters=args.parameters,
        class_names=args.class_names,
        pool_uri=pool_uri,
        steps=args.steps,
        guidance_scale=args.guidance,
        deterministic=args.deterministic,
        check_safety=args.check_safety,
        class_counts=args.class_counts,
        fill_up=args.fill_up,
        negative_prompt=args.negative_prompt,
        make_factor=args.make,
        keep=args.keep,
    )


def _reasons(made: pb.Augmentation) -> str:
    reasons = [f"{s.class_name}: {s.reason}" for s in made.result.shortfalls[:5]]
    return "; ".join(reasons) or f"{made.result.rejected_count} were rejected."


def _document(dataset: pb.Dataset, made: pb.Augmentation, out: Path) -> dict[str, Any]:
    result = made.result
    return {
        "augmentation": made.name,
        "dataset": dataset.name,
        "method": made.method,
        "models": dict(made.models),
        "out": str(out),
        "images_per_class": made.images_per_class,
        "class_counts": dict(made.class_counts),
        "fill_up": made.fill_up,
        "accepted_count": result.accepted_count,
        "rejected_count": result.rejected_count,
        "digest": result.digest,
        "manifest_uri": result.manifest_uri,
        "rejected_uri": result.rejected_uri,
        "shortfalls": [
            {
                "class_name": short.class_name,
                "wanted_count": short.wanted_count,
                "made_count": short.made_count,
                "reason": short.reason,
            }
            for short in result.shortfalls
        ],
        "ambiguous_senses": {
            one.class_name: one.sense.sense for one in result.prompts if one.sense.ambiguous
        },
        "kept": _kept(result.kept, out) if result.HasField("kept") else None,
        "meanings": {
            one.class_name: one.sense.definition or one.sense.sense
            for one in result.prompts
            if one.HasField("sense")
        },
        "notices": list(result.notices),
        "prompt_count": result.prompt_lengths.prompt_count,
        "cut_prompt_count": result.prompt_lengths.cut_count,
        "recognition": [_recognition(one) for one in result.recognition],
        "seconds": {stage: round(spent, 3) for stage, spent in sorted(result.seconds.items())},
        "warnings": list(dataset.warnings),
    }


def _kept(one: pb.KeptImages, out: Path) -> dict[str, Any]:
    """What the choice of the best did."""
    digits = {"made_score": 4, "kept_score": 4, "made_distance": 4, "kept_distance": 4}
    return {
        "score": one.score,
        "made_count": one.made_count,
        "kept_count": one.kept_count,
        "not_kept": str(out / unkept.TABLE),
        **{name: round(getattr(one, name), places) for name, places in digits.items()},
    }


def _recognition(one: pb.ClassRecognition) -> dict[str, Any]:
    """How often CLIP finds a class among the images made and among real ones."""
    return {
        "class_name": one.class_name,
        "real_count": one.real_count,
        "real_found": one.real_found,
        "made_count": one.made_count,
        "made_found": one.made_found,
        "verdict": pb.ClassRecognition.Verdict.Name(one.verdict).removeprefix("VERDICT_").lower(),
    }


def _print(console: "Console", document: dict[str, Any]) -> None:
    out, count = escape(document["out"]), document["accepted_count"]
    console.print(f"[bold green]✓[/bold green] {count} images by {document['method']} in {out}")
    if document["rejected_count"]:
        console.print(f"  {document['rejected_count']} images were rejected and replaced")
    if kept := document["kept"]:
        console.print(
            f"  the best by {kept['score']} of {kept['made_count']:,} that were made; mean CLIP "
            f"distance of two images of a class {kept['kept_distance']:.3f}, of all that were made "
            f"{kept['made_distance']:.3f}; the others: {escape(kept['not_kept'])} and "
            f"{unkept.PAGE} beside it"
        )
    spent = [f"{stage} {seconds:.1f} s" for stage, seconds in document["seconds"].items()]
    if spent:
        console.print(f"  {', '.join(spent)}", style="dim")
    if document["shortfalls"]:
        shown = table("class", "wanted", "made", "why", right=("wanted", "made"))
        for short in document["shortfalls"]:
            counts = (str(short["wanted_count"]), str(short["made_count"]))
            shown.add_row(escape(short["class_name"]), *counts, escape(short["reason"]))
        console.print("[bold yellow]some classes fell short[/bold yellow]")
        console.print(shown)
    if lost := [one for one in document["recognition"] if one["verdict"] == "lost"]:
        console.print(
            f"  [bold yellow]{len(lost)} classes may not show what they should[/bold yellow]"
        )
        shown = table("class", "CLIP finds it among these", "among real ones")
        for one in sorted(lost, key=lambda one: one["made_found"] / one["made_count"]):
            made, real = (f"{one[f'{k}_found']} of {one[f'{k}_count']}" for k in ("made", "real"))
            shown.add_row(escape(one["class_name"]), made, real)
        console.print(shown)
    if document["ambiguous_senses"]:
        unsure = "; ".join(f"{n}: {document['meanings'][n]}" for n in document["ambiguous_senses"])
        console.print(f"  your images do not show these meanings for sure: {escape(unsure)}")
        console.print("  pin others with --param senses='CLASS=SENSE;…'", style="dim")
    for path in document.get("contact_sheet", []):
        console.print(f"  look at {escape(path)}")
    console.print(f"  next: variegate train FOLDER --test DIR --synthetic {out}", style="dim")
