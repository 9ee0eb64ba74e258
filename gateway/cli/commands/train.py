"""`variegate train`: how good a classifier the images give, with and without the new ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options, outputs, recipes, training_options
from gateway.cli.arguments import OutputOptions, TrainArguments, TrainingRecipe
from gateway.cli.execute import Outcome, checked, execute
from gateway.cli.failures import CliError
from gateway.cli.folders import check_folders, check_tested
from gateway.cli.inputs import Reading, import_roots, local_paths, manifest_of

if TYPE_CHECKING:
    from gateway.cli.session import Session

Synthetic = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="Output of `variegate augment` to add; repeatable."),
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
StepCount = Annotated[
    int,
    typer.Option(
        "--steps",
        metavar="N",
        min=0,
        max=1_000_000,
        help="Optimiser steps; 0: the classifier's own.",
    ),
]
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


def train(
    source: options.Source,
    test: options.Test = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    image_column: options.ImageColumn = "",
    label_column: options.LabelColumn = "",
    synthetic: Synthetic = None,
    strategy: Strategy = "",
    seeds: Seeds = 3,
    shots: options.Shots = 0,
    refuse_leaks: options.RefuseLeaks = False,
    policy: training_options.Policy = "",
    classifier: training_options.Classifier = "",
    steps: StepCount = 0,
    batch_size: training_options.BatchSize = 0,
    learning_rate: training_options.LearningRate = 0.0,
    image_size: training_options.ImageSize = 0,
    nodes: training_options.Nodes = 0,
    gpus_per_node: training_options.GpusPerNode = 0,
    compare: Compare = True,
    out: Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    device: options.Device = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train and test a classifier; with --synthetic also measure what the images gained.

    $ variegate train ./my-images --test ./my-test-images
    $ variegate train ./my-images --test ./my-test-images --synthetic ./augmented --out ./trained
    """
    common = options.Common(gateway, trainer, store, state, json, debug, device=device)
    training = TrainingRecipe(
        policy, classifier, steps, batch_size, learning_rate, image_size, nodes, gpus_per_node
    )
    added = tuple(synthetic or ())
    args = TrainArguments(
        source, test, added, strategy, seeds, shots, training, compare, refuse_leaks,
        Reading(layout, follow_links, image_column, label_column),
        OutputOptions(out, resume, overwrite) if out else None,
    )  # fmt: skip
    taken = resume or overwrite

    def check() -> None:
        if not gateway:
            outputs.apart_from_state(state, out, *local_paths(source, test))
        _check(args, own=not trainer, taken=taken)

    checked(common, check)

    async def work(session: "Session") -> Outcome:
        from gateway.cli.work import train

        return await train.run(session, args)

    execute(common, work, roots=import_roots(source, test, reading=args.reading))


def _check(args: TrainArguments, *, own: bool, taken: bool) -> None:
    if taken and args.kept is None:
        raise CliError("--resume and --overwrite need an --out.", remedy="Give --out DIR as well.")
    check_tested(check_folders(args.source, args.test, args.reading), args.source)
    for place in args.synthetic:
        manifest_of(place)
    if own:
        training = args.training
        recipes.check(
            recipes.OWN,
            strategy=args.strategy,
            policy=training.policy,
            classifier=training.classifier,
        )
    recipes.check_strategy(args.strategy, has_added=bool(args.synthetic))
    if kept := args.kept:
        sources = local_paths(args.source, args.test)
        outputs.apart(kept.out, *sources, *(place.resolve() for place in args.synthetic))
        outputs.check(kept.out, args.run_id(), resume=kept.resume, overwrite=kept.overwrite)
