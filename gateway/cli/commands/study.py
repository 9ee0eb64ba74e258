"""`variegate study`: methods compared on the same images, budget and seeds."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli import demo as shipped
from gateway.cli import (
    inputs,
    options,
    outputs,
    recipes,
    repeated_options,
    study_options,
    tracking,
    training_options,
)
from gateway.cli.arguments import RunOptions, StudyArguments, TrainingRecipe
from gateway.cli.execute import CommandResult, checked, execute
from gateway.cli.failures import CliError
from gateway.cli.folders import check_added, check_folders, check_tested
from gateway.cli.given import command_of
from gateway.cli.image_options import added_rows
from gateway.cli.initial_weights import weights_of
from gateway.cli.known import method_names
from gateway.cli.names_file import read_names, read_numbers
from gateway.cli.records import noted
from gateway.cli.study_file.flags import check_alone, check_folder_given, is_study_file, of_file
from gateway.cli.subset import WHOLE, Subset, subset_seeds_of
from gateway.cli.subset_options import NONE_GIVEN, GivenSubset, subset_options
from gateway.cli.test_sets import split_tests

if TYPE_CHECKING:
    from gateway.cli.session import Session


@subset_options
def study(
    context: typer.Context,
    source: study_options.OptionalSource = None,
    data: study_options.Data = None,
    test: repeated_options.Tests = None,
    methods: study_options.Methods = None,
    strategy: study_options.Strategy = "combined",
    per_class: study_options.PerClass = 0,
    seeds: study_options.Seeds = 0,
    subset_seeds: study_options.SubsetSeeds = "",
    out: study_options.Out = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    image_column: options.ImageColumn = "",
    label_column: options.LabelColumn = "",
    subset: GivenSubset = NONE_GIVEN,
    refuse_leaks: options.RefuseLeaks = False,
    names: options.Names = None,
    synthetic: repeated_options.AddedRows = None,
    keys: repeated_options.Keys = None,
    param: study_options.Parameters = None,
    pool: options.Pool = None,
    pool_names: options.PoolNames = None,
    classifier: training_options.Classifier = "",
    policy: training_options.Policy = "",
    train_steps: training_options.StepCount = 0,
    batch_size: training_options.BatchSize = 0,
    learning_rate: training_options.LearningRate = 0.0,
    image_size: training_options.ImageSize = 0,
    nodes: training_options.Nodes = 0,
    gpus_per_node: training_options.GpusPerNode = 0,
    weights: training_options.Weights = "",
    freeze: training_options.Freeze = False,
    schedule: training_options.Schedule = "",
    choose: training_options.Choose = "",
    demo: study_options.Demo = False,
    full: study_options.Full = False,
    preview: study_options.Preview = 0,
    plan: options.Plan = False,
    yes: options.Yes = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    deterministic: options.Deterministic = False,
    check_safety: options.Safety = False,
    track: training_options.Track = None,
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
    """Compare methods: a table here, results.json and report.html in --out.

    Every study also trains on the real images alone (baseline) and, with a pool that names its
    classes, on more real images (oracle).

    $ variegate study --demo
    $ variegate study ./my-images --test ./my-test-images --methods mvc,simple --out ./study
    $ variegate study study.yaml --data ./my-images --plan
    """
    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, None, store, state, json, debug, models, device, dtype, tls)
    folder = out or Path("out") / ("demo" if demo else "study")
    # The demo is meant to be run again and again.
    redo = resume or (demo and not overwrite)
    command = command_of(context)
    run_options = RunOptions(folder, "", redo, overwrite, plan, preview, yes, command, track)
    training = TrainingRecipe(
        step_count=train_steps, batch_size=batch_size, learning_rate=learning_rate,
        image_size=image_size, node_count=nodes, gpus_per_node=gpus_per_node, freeze=freeze,
        schedule=schedule, choose=choose,
    )  # fmt: skip
    reading = inputs.Reading(layout, follow_links, image_column, label_column)

    def prepare() -> StudyArguments:
        tracking.check(track)
        plain, test_sets = split_tests(test or [])
        added = added_rows(synthetic or [])
        if source and is_study_file(source):
            check_alone(context, Path(source))
            args = of_file(
                Path(source), data, plain, pool, own=not gateway, test_sets=test_sets,
                overrides=tuple(keys or ()), added=added,
            )  # fmt: skip
            args = replace(
                args, display_names=read_names(names), reading=reading,
                pool_names=read_numbers(pool_names),
            )  # fmt: skip
        else:
            check_folder_given(data, keys or ())
            draws = _draws(subset_seeds, seeds)
            args = StudyArguments(
                source or "", plain or "", pool, subset.read(draws),
                tuple((name, {}) for name in method_names(methods or study_options.METHODS)),
                (strategy,), (per_class or 100,), tuple(range(seeds or len(draws) or 3)),
                replace(training, weights=weights_of(weights)), deterministic, check_safety,
                "study", inputs.parameters(param), (policy,), (classifier,),
                display_names=read_names(names), refuse_leaks=refuse_leaks, reading=reading,
                pool_names=read_numbers(pool_names), test_sets=test_sets, added=added,
                subset_seeds=draws,
            )  # fmt: skip
        args = _demo(args, source, seeds, per_class, full) if demo else args
        if not gateway:
            outputs.apart_from_state(state, folder, *inputs.local_paths(*args.places()))
        _check(args, run_options, full=full and not demo, own=not gateway)
        return args

    args = checked(common, prepare)
    folders = map(str, args.added_places())
    roots = inputs.import_roots(*args.places(), *folders, reading=reading)
    execute(common, _work(common, args, run_options), roots=roots)


def _work(
    common: options.Common, args: StudyArguments, run_options: RunOptions
) -> "Callable[[Session], Awaitable[CommandResult]]":
    async def work(session: "Session") -> CommandResult:
        from gateway.cli.work import study

        outcome = await study.run(session, args, run_options)
        return noted(common, outcome, "study", run_options.out)

    return work


def _draws(text: str, seeds: int) -> tuple[int, ...]:
    """The subset seeds of --subset-seeds, one for each of so many seeds."""
    if not text:
        return ()
    try:
        found = subset_seeds_of(text)
    except ValueError as error:
        raise CliError(f"--subset-seeds {error}.", remedy="Write 5, or 0,3,7.") from error
    if seeds not in (0, len(found)):
        raise CliError(
            f"There are {seeds} seeds for {len(found)} subset seeds; each has one.",
            remedy="Leave --seeds out, or give as many.",
        )
    return found


def _demo(
    args: StudyArguments, source: str | None, seeds: int, per_class: int, full: bool
) -> StudyArguments:
    if source or args.test:
        raise CliError("--demo brings its own photographs.", remedy="Leave FOLDER and --test out.")
    from dataclasses import replace

    folder, usual = shipped.folder(), shipped.FULL_SEEDS if full else shipped.SHORT_SEEDS
    return replace(
        args,
        source=str(folder / "target.parquet"),
        test=str(folder / "test.parquet"),
        pool=str(folder / "pool.parquet"),
        subset=Subset(shipped.SHOTS) if args.subset == WHOLE else args.subset,
        methods=() if full else tuple((name, {}) for name in shipped.SHORT),
        per_class=(per_class or shipped.PER_CLASS,),
        seeds=tuple(range(seeds or len(args.subset_seeds) or usual)),
        name="demo-full" if full else "demo",
    )


def _check(args: StudyArguments, run_options: RunOptions, *, full: bool, own: bool) -> None:
    from gateway.cli.known import check_methods, with_parameters
    from gateway.cli.root import own_methods

    if run_options.track and run_options.preview:
        raise CliError("--preview trains nothing to track.", remedy="Leave --track out.")
    if full:
        raise CliError("--full belongs to --demo.", remedy="Name --methods for your own images.")
    if not args.source:
        raise CliError(
            "A study needs a folder of images.",
            remedy="Give one: variegate study FOLDER --test DIR; or try variegate study --demo.",
        )
    check_tested(check_folders(args.source, args.test, args.reading), args.source)
    for _, place in args.test_sets:
        check_folders(place, None, args.reading)
    check_added(args.added_places(), args.reading)
    if args.pool:
        inputs.pool_file(args.pool)
    elif args.pool_names:
        raise CliError("--pool-names needs a pool.", remedy="Give --pool as well.")
    added = (place.resolve() for place in args.added_places())
    outputs.apart(run_options.out, *inputs.local_paths(*args.places()), *added)
    recipes.check_choices(args.training, source=args.source, validation=args.subset.validation)
    for strategy in args.strategies:
        recipes.check_strategy(strategy, has_added=True)
    args.training.weights.check(args.classifiers)
    if own:
        for strategy, policy, classifier in product(
            args.strategies, args.policies, args.classifiers
        ):
            recipes.check(recipes.OWN, strategy=strategy, policy=policy, classifier=classifier)
        known = own_methods()
        wanted = args.methods or tuple[tuple[str, dict[str, str]], ...](
            (method.id, {}) for method in known
        )
        asked = with_parameters(known, wanted, args.parameters)
        check_methods(known, asked, has_pool=bool(args.pool))
    if not run_options.plan:
        kept = {"resume": run_options.resume, "overwrite": run_options.overwrite}
        outputs.check(run_options.out, run_options.output_id(args.output_id()), **kept)
