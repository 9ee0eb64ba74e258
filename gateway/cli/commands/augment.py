"""`variegate augment`: a folder of images in, a larger one out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import inputs, options, outputs
from gateway.cli.execute import Outcome, checked, execute
from gateway.cli.exporting import check_format
from gateway.cli.failures import CliError
from gateway.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console
    from variegate.gateway.v1 import gateway_pb2 as pb

    from gateway.cli.session import Session

SHORTFALL = 5

Method = Annotated[str, typer.Option(help="How to make them; see `variegate methods`.")]
PerClass = Annotated[int, typer.Option(min=1, max=1_000_000, help="Accepted images per class.")]
Out = Annotated[Path, typer.Option(help="New folder for the images, a folder per class.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every draw.")]
Steps = Annotated[int, typer.Option(min=0, max=200, help="Denoising steps; 0: the model's own.")]
Guidance = Annotated[
    float | None,
    typer.Option(min=0.0, max=30.0, help="Guidance scale; the model's own by default."),
]
Format = Annotated[
    str, typer.Option("--format", help="Layout of --out: imagefolder, or webdataset (shards).")
]
Classes = Annotated[str | None, typer.Option(help="Only these classes, separated by commas.")]


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line; equal wishes are one run."""

    source: str
    test: str | None
    shots: int
    method: str
    per_class: int
    seed: int
    steps: int
    guidance: float | None
    pool: str | None
    deterministic: bool
    check_safety: bool
    class_names: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """The method and its parameters, to be checked."""
        return [(self.method, self.parameters)]

    def run_id(self) -> str:
        """The id of the run."""
        return inputs.run_id(self.method, vars(self))


def augment(
    source: options.Source,
    method: Method = "mvc",
    per_class: PerClass = 100,
    out: Out = Path("augmented"),
    form: Format = "imagefolder",
    test: options.Test = None,
    shots: options.Shots = 0,
    seed: Seed = 0,
    steps: Steps = 0,
    guidance: Guidance = None,
    param: options.Parameters = None,
    classes: Classes = None,
    pool: options.Pool = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    deterministic: options.Deterministic = False,
    check_safety: options.Safety = True,
    gateway: options.Gateway = None,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make new images for every class, with manifest and lineage.

    A run that was stopped, even killed, goes on when the same command is given again.
    """
    common = options.Common(gateway=gateway, store=store, state=state, json=json, debug=debug)

    def prepare() -> Wish:
        wish = Wish(
            source, test, shots, method, per_class, seed, steps, guidance, pool, deterministic,
            check_safety, inputs.names(classes), inputs.parameters(param),
        )  # fmt: skip
        check_format(form)
        _check(wish, out, own=not gateway)
        marker = _marker(wish, form)
        outputs.claim(out, marker, resume=resume, overwrite=overwrite, dry=True)
        return wish

    wish = checked(common, prepare)
    execute(
        common,
        lambda session: _augment(session, wish, out, form, resume=resume, overwrite=overwrite),
        roots=inputs.import_roots(source, test),
    )


def _check(wish: Wish, out: Path, *, own: bool) -> None:
    """What can be told before anything is started; `own` if we start the system ourselves."""
    from gateway.cli.known import check_methods, own_methods

    sources = [text for text in (wish.source, wish.test) if text]
    for text in sources:
        inputs.source_uri(text)
    outputs.apart(out, *map(inputs.local_path, sources))
    if own:
        check_methods(own_methods(), wish.asked(), has_pool=bool(wish.pool))


async def _augment(
    session: "Session", wish: Wish, out: Path, form: str, *, resume: bool, overwrite: bool
) -> Outcome:
    from variegate.gateway.v1 import gateway_pb2 as pb

    from gateway.cli import steps
    from gateway.cli.exporting import export
    from gateway.cli.known import check_methods, methods_of

    session.connection.need_store()
    check_methods(await methods_of(session), wish.asked(), has_pool=bool(wish.pool))
    pool_uri = await steps.store_pool(session, wish.pool)
    dataset = await steps.import_images(session, wish.source, wish.test, wish.shots)
    steps.check_classes(wish.class_names, dataset)
    request = pb.CreateAugmentationRequest(
        parent=dataset.name, augmentation_id=wish.run_id(), augmentation=_to_pb(wish, pool_uri)
    )
    outputs.claim(out, _marker(wish, form), resume=resume, overwrite=overwrite)
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
    await export(session, made.result.manifest_uri, out, form)
    document = _document(dataset, made, out)
    facts = {"augmentation": made.name, "accepted": made.result.accepted_count}
    outputs.finish(out, _marker(wish, form), **facts)
    code = SHORTFALL if made.result.shortfalls else 0
    return Outcome(document, lambda console: _print(console, document), code)


def _marker(wish: Wish, form: str) -> str:
    """What an output folder belongs to: a run, in a format."""
    return f"{wish.run_id()} {form}"


def _to_pb(wish: Wish, pool_uri: str) -> "pb.Augmentation":
    from variegate.gateway.v1 import gateway_pb2 as pb

    return pb.Augmentation(
        method=wish.method,
        images_per_class=wish.per_class,
        seed=wish.seed,
        parameters=wish.parameters,
        class_names=wish.class_names,
        pool_uri=pool_uri,
        steps=wish.steps,
        guidance_scale=wish.guidance,
        deterministic=wish.deterministic,
        check_safety=wish.check_safety,
    )


def _reasons(made: "pb.Augmentation") -> str:
    reasons = [f"{s.class_name}: {s.reason}" for s in made.result.shortfalls[:5]]
    return "; ".join(reasons) or f"{made.result.rejected_count} were rejected."


def _document(dataset: "pb.Dataset", made: "pb.Augmentation", out: Path) -> dict[str, Any]:
    result = made.result
    return {
        "augmentation": made.name,
        "dataset": dataset.name,
        "method": made.method,
        "out": str(out),
        "images_per_class": made.images_per_class,
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
        "seconds": {stage: round(spent, 3) for stage, spent in sorted(result.seconds.items())},
        "warnings": list(dataset.warnings),
    }


def _print(console: "Console", document: dict[str, Any]) -> None:
    out, count = escape(document["out"]), document["accepted_count"]
    console.print(f"[bold green]✓[/bold green] {count} images by {document['method']} in {out}")
    if document["rejected_count"]:
        console.print(f"  {document['rejected_count']} images were rejected and replaced")
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
    if document["ambiguous_senses"]:
        unsure = ", ".join(f"{n} = {s}" for n, s in document["ambiguous_senses"].items())
        console.print(f"  meanings your images do not decide: {escape(unsure)}")
        console.print("  pin others with --param senses='CLASS=SENSE;…'", style="dim")
    console.print(f"  next: variegate train FOLDER --test DIR --synthetic {out}", style="dim")
