"""`variegate train`: how good a classifier the images give, with and without the new ones."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import (
    options,
    outputs,
    recipes,
    repeated_options,
    tracking,
    training_options,
)
from gateway.cli.arguments import OutputOptions, TrainArguments, TrainingRecipe
from gateway.cli.execute import CommandResult, checked, execute
from gateway.cli.failures import CliError
from gateway.cli.folders import check_added, check_folders, check_tested
from gateway.cli.initial_weights import weights_of
from gateway.cli.inputs import Reading, import_roots, local_paths
from gateway.cli.subset_options import NONE_GIVEN, GivenSubset, subset_options
from gateway.cli.test_sets import split_tests

if TYPE_CHECKING:
    from gateway.cli.session import Session

Synthetic = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Images to add: an output of `variegate augment` or `merge`, or a folder per class of "
        "another tool; repeatable.",
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        metavar=recipes.choices(recipes.STRATEGIES),
        help="How to use the added images.",
        show_default="combined, or real without --synthetic",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(metavar="N", min=1, max=100, help="Number of runs with different seeds."),
]


def _renamed(value: int | None) -> None:
    if value is not None:
        raise typer.BadParameter("it is called --train-steps here, as in study.")


Steps = Annotated[int | None, typer.Option("--steps", hidden=True, callback=_renamed)]
Compare = Annotated[
    bool, typer.Option("--compare/--no-compare", help="Train without the added images as well.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep each run's classifier, metrics, predictions and confusion matrix here.",
        show_default=False,
    ),
]

Onnx = Annotated[
    bool,
    typer.Option(
        "--onnx",
        help="Keep each classifier as model.onnx, too, which takes pixels in 0 to 1; needs --out.",
    ),
]

Images = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER", help="Your images, in any form that augment takes.", show_default=False
    ),
]
List = Annotated[
    bool,
    typer.Option("--list", help="List strategies, policies and classifiers; train nothing."),
]


@subset_options
def train(
    source: Images = "",
    test: repeated_options.Tests = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    image_column: options.ImageColumn = "",
    label_column: options.LabelColumn = "",
    synthetic: Synthetic = None,
    strategy: Strategy = "",
    seeds: Seeds = 3,
    subset: GivenSubset = NONE_GIVEN,
    refuse_leaks: options.RefuseLeaks = False,
    policy: training_options.Policy = "",
    classifier: training_options.Classifier = "",
    train_steps: training_options.StepCount = 0,
    steps: Steps = None,
    batch_size: training_options.BatchSize = 0,
    learning_rate: training_options.LearningRate = 0.0,
    image_size: training_options.ImageSize = 0,
    nodes: training_options.Nodes = 0,
    gpus_per_node: training_options.GpusPerNode = 0,
    weights: training_options.Weights = "",
    freeze: training_options.Freeze = False,
    schedule: training_options.Schedule = "",
    choose: training_options.Choose = "",
    compare: Compare = True,
    out: Out = None,
    onnx: Onnx = False,
    track: training_options.Track = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    device: options.Device = "",
    listing: List = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train and test a classifier; with --synthetic also measure what the images gained.

    $ variegate train ./my-images --test ./my-test-images
    $ variegate train ./my-images --test ./my-test-images --synthetic ./augmented --out ./trained
    $ variegate train --list
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, trainer, store, state, json, debug, device=device, tls=tls)
    if listing:
        execute(common, _list)
    training = TrainingRecipe(
        policy, classifier, train_steps, batch_size, learning_rate, image_size, nodes,
        gpus_per_node, freeze=freeze, schedule=schedule, choose=choose,
    )  # fmt: skip
    added = tuple(synthetic or ())

    def prepare() -> TrainArguments:
        tracking.check(track)
        plain, test_sets = split_tests(test or [])
        args = TrainArguments(
            _needed(source), plain, added, strategy, seeds, subset.read(),
            replace(training, weights=weights_of(weights)), compare, refuse_leaks,
            Reading(layout, follow_links, image_column, label_column),
            OutputOptions(out, resume, overwrite) if out else None, test_sets, onnx,
        )  # fmt: skip
        if not gateway:
            outputs.apart_from_state(state, out, *local_paths(*args.places()))
        _check(args, own=not trainer, taken=resume or overwrite)
        return args

    args = checked(common, prepare)

    async def work(session: "Session") -> CommandResult:
        from gateway.cli.work import train

        return await train.run(session, args, track)

    execute(
        common,
        work,
        roots=import_roots(*args.places(), *map(str, args.synthetic), reading=args.reading),
    )


async def _list(session: "Session") -> CommandResult:
    from gateway.cli.work import train_list

    return await train_list.run(session)


def _needed(source: str) -> str:
    if not source:
        raise CliError(
            "There are no images to train on.", remedy="Give FOLDER, or --list.", exit_code=2
        )
    return source


def _check(args: TrainArguments, *, own: bool, taken: bool) -> None:
    if taken and args.kept is None:
        raise CliError("--resume and --overwrite need an --out.", remedy="Give --out DIR as well.")
    if args.onnx and args.kept is None:
        raise CliError("--onnx needs an --out.", remedy="Give --out DIR as well.")
    check_tested(check_folders(args.source, args.test, args.reading), args.source)
    for _, test_place in args.test_sets:
        check_folders(test_place, None, args.reading)
    check_added(args.synthetic, args.reading)
    recipes.check_choices(args.training, source=args.source, validation=args.subset.validation)
    training = args.training
    training.weights.check([training.classifier])
    if own:
        recipes.check(
            recipes.OWN,
            strategy=args.strategy,
            policy=training.policy,
            classifier=training.classifier,
        )
    recipes.check_strategy(args.strategy, has_added=bool(args.synthetic))
    if kept := args.kept:
        sources = local_paths(*args.places())
        outputs.apart(kept.out, *sources, *(place.resolve() for place in args.synthetic))
        outputs.check(kept.out, args.run_id(), resume=kept.resume, overwrite=kept.overwrite)
