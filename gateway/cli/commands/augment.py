"""`variegate augment`: a folder of images in, a larger one out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import inputs, options, outputs
from gateway.cli.amounts import Amount, amount_of, check_choice
from gateway.cli.arguments import AugmentArguments, RunOptions
from gateway.cli.execute import CommandResult, checked, execute
from gateway.cli.exporting import check_format
from gateway.cli.failures import CliError
from gateway.cli.folders import check_folders
from gateway.cli.known import with_strength
from gateway.cli.names_file import read_names
from gateway.cli.recipes import METHODS
from gateway.cli.records import noted
from gateway.cli.subset_options import NONE_GIVEN, GivenSubset, subset_options

if TYPE_CHECKING:
    from gateway.cli.session import Session

Method = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help=f"How to make them: {', '.join(METHODS)}. `variegate methods` explains them. Several, "
        "each a share of every class: mvc:0.5,simple:0.5.",
    ),
]
PerClass = Annotated[
    str | None,
    typer.Option(
        metavar="N|NAME=N,...|FILE",
        help="Images to add per class, 100 by default. cat=50,dog=200: of these classes alone; "
        "100,cat=50: of the others 100; a file: a line 'cat = 50' per class.",
    ),
]
FillTo = Annotated[
    str | None,
    typer.Option(
        metavar="N|NAME=N,...|FILE",
        help="Instead: images up to which each class is filled, the real ones included.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(metavar="DIR", help="New folder for the images, a folder per class."),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, max=2**64 - 1, help="Seed of every draw.")]
Steps = Annotated[
    int,
    typer.Option(metavar="N", min=0, max=200, help="Denoising steps; 0: the model's own."),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="X", min=0.0, max=30.0, help="Guidance scale; the model's own by default."
    ),
]
Negative = Annotated[
    str,
    typer.Option("--negative-prompt", metavar="TEXT", help="What no image is to show."),
]
Make = Annotated[
    float,
    typer.Option(
        metavar="X",
        min=0.0,
        max=20.0,
        help="Images to make for one that is wanted, 1 to 20, of which --keep chooses the best.",
    ),
]
Keep = Annotated[
    str,
    typer.Option(
        metavar="clip_score|unsafe_score",
        help="Score by which the best are kept; the others are listed in not_kept.parquet.",
    ),
]
Like = Annotated[
    Path | None,
    typer.Option(
        metavar="results.json",
        help="Results of a study or training: --per-class is the mean, and classes get images in "
        "proportion to the share of test images that were taken for another class.",
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        min=0.0,
        max=1.0,
        help="Of methods that start from an image: share of the noise that it gets, 0 the image.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="imagefolder|webdataset",
        help="Layout of --out: a folder per class, or shards (.tar).",
    ),
]
Preview = Annotated[
    int,
    typer.Option(
        min=0,
        max=1000,
        metavar="N",
        help="Make only the first N images a class, and a contact sheet of them: preview.png and "
        "preview.html. The whole run does not make them again.",
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME,...",
        help="Only these classes, separated by commas; repeatable. A comma in a name: \\,",
    ),
]


@subset_options
def augment(
    source: options.Source,
    method: Method = "mvc",
    per_class: PerClass = None,
    fill_to: FillTo = None,
    out: Out = Path("augmented"),
    form: Format = "imagefolder",
    test: options.Test = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    image_column: options.ImageColumn = "",
    label_column: options.LabelColumn = "",
    subset: GivenSubset = NONE_GIVEN,
    refuse_leaks: options.RefuseLeaks = False,
    names: options.Names = None,
    seed: Seed = 0,
    steps: Steps = 0,
    guidance: Guidance = None,
    negative: Negative = "",
    like: Like = None,
    strength: Strength = None,
    make: Make = 0.0,
    keep: Keep = "",
    param: options.Parameters = None,
    classes: Classes = None,
    pool: options.Pool = None,
    preview: Preview = 0,
    plan: options.Plan = False,
    yes: options.Yes = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    deterministic: options.Deterministic = False,
    check_safety: options.Safety = True,
    gateway: options.Gateway = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    models: options.Models = None,
    device: options.Device = "",
    dtype: options.DType = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make new images for every class, with manifest and lineage.

    What it will take is said first, and at a terminal asked if it is more than an hour.
    A run that was stopped, even killed, goes on when the same command is given again.

    $ variegate augment ./my-images --per-class 100 --out ./augmented
    $ variegate augment ./my-images --fill-to 200
    $ variegate augment ./my-images --make 2 --keep clip_score
    $ variegate augment ./my-images --method contextual --classes cat,dog --preview 4
    $ variegate augment ./my-images --method retrieval --pool ./photos.parquet
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, None, store, state, json, debug, models, device, dtype, tls)

    def prepare() -> AugmentArguments:
        amount = amount_of(per_class, fill_to)
        check_choice(make, keep)
        only = inputs.names(classes) or (list(amount.of_classes) if amount.only_those else [])
        args = AugmentArguments(
            source, test, subset.read(), method, amount.each, seed, steps, guidance, pool,
            deterministic, check_safety, only, with_strength(inputs.parameters(param), strength),
            read_names(names), refuse_leaks,
            inputs.Reading(layout, follow_links, image_column, label_column),
            amount.of_classes, amount.fill_up, negative, make, keep,
            _accuracies(like, amount),
        )  # fmt: skip
        if not gateway:
            outputs.apart_from_state(state, out, *inputs.local_paths(source, test))
        return _checked(args, run_options, own=not gateway)

    run_options = RunOptions(out, form, resume, overwrite, plan, preview, yes)
    args = checked(common, prepare)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli.work import augment

        outcome = await augment.run(session, args, run_options)
        return noted(common, outcome, "augmentation", run_options.out)

    execute(common, work, roots=inputs.import_roots(source, test, reading=args.reading))


def _accuracies(like: Path | None, amount: Amount) -> dict[str, float | None]:
    if like is None:
        return {}
    if amount.of_classes or amount.fill_up:
        raise CliError(
            "--like says how many images each class gets, as --per-class NAME=N and --fill-to do.",
            remedy="Give --per-class one number, their mean.",
        )
    from gateway.cli.weakness import read_accuracies

    return dict(read_accuracies(like).of_classes)


def _checked(args: AugmentArguments, run_options: RunOptions, *, own: bool) -> AugmentArguments:
    """Checks what can be told before anything is started; `own` if we start the system."""
    from gateway.cli.known import check_methods
    from gateway.cli.root import own_methods

    check_folders(args.source, args.test, args.reading)
    if args.pool:
        inputs.pool_file(args.pool)
    check_format(run_options.form)
    outputs.apart(run_options.out, *inputs.local_paths(args.source, args.test))
    if own:
        check_methods(own_methods(), args.asked(), has_pool=bool(args.pool))
    if not run_options.plan:
        run, resume = (
            run_options.output_id(args.output_id(run_options.form)),
            run_options.resume,
        )
        outputs.check(run_options.out, run, resume=resume, overwrite=run_options.overwrite)
    return args
