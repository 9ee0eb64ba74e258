"""The work of `variegate study`: ask the gateway, fetch the files, show the table."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli import outputs, planning, recipes, steps, tracked
from gateway.cli.arguments import RunOptions, StudyArguments
from gateway.cli.execute import CommandResult
from gateway.cli.exporting import fetch
from gateway.cli.failures import SHORTFALL, CliError
from gateway.cli.given import with_command
from gateway.cli.grid import counts_of, study_of
from gateway.cli.known import check_methods, methods_of, with_parameters
from gateway.cli.room import disks
from gateway.cli.session import Session
from gateway.cli.study_file.names import Known
from gateway.cli.study_file.schema import read_study
from gateway.cli.tables import Grid, chance, interval, plus_minus, table, verdict
from gateway.cli.work import added_rows, study_preview
from gateway.export.results import ResultRow, StudyResults

_RECIPES = pb.ListTrainingRecipesRequest()

if TYPE_CHECKING:
    from rich.console import Console


async def run(session: Session, args: StudyArguments, run_options: RunOptions) -> CommandResult:
    """Says the plan, runs the study and writes results.json, report.html and STUDY.md."""
    out = run_options.out
    store = session.connection.need_store()
    await asyncio.to_thread(args.training.weights.put, store)
    known = await methods_of(session)
    offered = await session.call(session.gateway.ListTrainingRecipes, _RECIPES)
    if args.file:  # Checked again by what this system has, each fault at its line.
        system = Known(known, recipes.of_trainer(offered))
        read_study(Path(args.file), system, overrides=args.overrides)
    wanted = args.methods or tuple((method.id, {}) for method in known)
    asked = with_parameters(known, wanted, args.parameters)
    check_methods(known, asked, has_pool=bool(args.pool))
    _check_training(offered, args)
    methods = list(dict.fromkeys(name for name, _ in asked))
    models = await steps.models_of(session, methods, deterministic=args.deterministic, trains=True)
    pool_uri = await steps.store_pool(session, args.pool)
    datasets = await _datasets(session, args)
    dataset = datasets[0]
    if not any(entry.test_count for entry in dataset.classes):
        raise CliError("None of the test images can be used.", remedy="See the warnings above.")
    images = sum(entry.train_count for entry in dataset.classes)
    _check_expected(session, args, dataset)
    counts = counts_of(args, len(dataset.classes), images)
    added = await added_rows.store(session, args.added, datasets, args.reading)
    classes = {entry.class_name: entry.train_count for entry in dataset.classes}
    sets = await _test_sets(session, args)
    study = study_of(
        args, asked, dataset.name, pool_uri, counts, sets, classes=classes, added=added,
        seed_datasets=[one.name for one in datasets] if args.subset_seeds else (),
    )  # fmt: skip
    own_id = args.run_id(models, [uri for _, uri in added])
    request = pb.CreateStudyRequest(study_id=own_id, study=study)
    if run_options.preview:
        plan = await study_preview.plan(session, request, run_options.preview)
    else:
        plan = replace(await _plan(session, request), subset_seeds=args.subset_seeds)
    plan = replace(plan, load=planning.load_of(session))
    # Only the report and its like leave the store.
    room = disks(session, plan, out, is_folder=True, exports=False)
    if run_options.plan:
        return planning.outcome(dataset, plan, room)
    place = outputs.OutputFolder(out, run_options.output_id(args.output_id()), models)
    asks = not outputs.is_begun(place)
    await planning.agree(session, dataset, plan, room, yes=run_options.yes, asks=asks)
    outputs.claim(place, resume=run_options.resume, overwrite=run_options.overwrite)
    if run_options.preview:
        return await study_preview.make(session, request, place, run_options.preview)
    operation = await session.call(session.gateway.CreateStudy, request)
    session.view.say(f"operation {operation.name}")
    done = await session.finished(operation, pb.Study())
    await _fetch(session, args, done.result, run_options)
    outputs.finish(place, study=done.name)
    if run_options.track:
        await tracked.track_study(session, out)
    return _outcome(done.name, out, max(map(steps.shortfall, datasets)))


def _outcome(name: str, out: Path, code: int) -> CommandResult:
    """What is shown of a finished study; `code` is the exit code where no row fell short."""
    results = StudyResults.from_json((out / "results.json").read_text("utf-8"))
    is_short = bool(results.failures) or any(row.shortfalls for row in results.rows)
    document = _document(results, name, out)
    return CommandResult(
        document, lambda console: _print(console, results, out), SHORTFALL if is_short else code
    )


async def _datasets(session: Session, args: StudyArguments) -> list[pb.Dataset]:
    """The dataset of all seeds, or that of each, which draws its own subset."""
    return [
        await steps.import_images(
            session,
            args.source,
            args.test,
            subset,
            display_names=args.display_names,
            refuse_leaks=args.refuse_leaks,
            reading=args.reading,
        )
        for subset in args.subset.draws(args.subset_seeds)
    ]


async def _test_sets(session: Session, args: StudyArguments) -> list[pb.StudyTestSet]:
    found = await steps.import_test_sets(session, args.test_sets, args.reading)
    return [pb.StudyTestSet(name=name, dataset=dataset.name) for name, dataset in found]


async def _fetch(
    session: Session, args: StudyArguments, result: pb.StudyResult, run_options: RunOptions
) -> None:
    """Writes what came of the study, and the file that asked for it."""
    out = run_options.out
    await fetch(session, result.results_uri, out / "results.json")
    await fetch(session, result.report_uri, out / "report.html")
    if result.summary_uri:  # A gateway of before has none.

        def told(summary: bytes) -> bytes:
            text = with_command(summary.decode(), run_options.command, has_file=bool(args.file))
            return text.encode()

        await fetch(session, result.summary_uri, out / "STUDY.md", told)
    if args.file:
        await asyncio.to_thread(shutil.copyfile, args.file, out / "study.yaml")


def _check_expected(session: Session, args: StudyArguments, dataset: pb.Dataset) -> None:
    """Says where the images are not those that the study file is meant for.

    Those kept for validation are labelled images of the subset as well. A fraction is rounded class
    by class, so that much of all images may be more or fewer, by one a class.
    """
    want, classes = args.expected, len(dataset.classes)
    images = sum(entry.train_count + entry.validation_count for entry in dataset.classes)
    slack = classes if args.subset.fraction else 0
    if want and (want.classes != classes or abs(want.images - images) > slack):
        session.view.say(
            f"warning: {args.file} is meant for {want.images:,} training images of {want.classes:,}"
            f" classes, and these are {images:,} of {classes:,}: its figures compare with no others"
        )


async def _plan(session: Session, request: pb.CreateStudyRequest) -> planning.RunPlan:
    """The plan of all rows and seeds; rows that differ in how they train share their images, as do
    those that take fewer of them.

    The training comes first: what no trainer could train needs no first images to measure a pace.
    """
    study = request.study
    training = await session.call(session.gateway.PlanStudy, pb.PlanStudyRequest(study=study))
    estimates = await study_preview.estimates_of(session, request)
    return planning.RunPlan(estimates, times=len(study.seeds), training=training)


def _check_training(offered: pb.ListTrainingRecipesResponse, args: StudyArguments) -> None:
    """Checks what was asked of the training by what the system's trainer has."""
    known = recipes.of_trainer(offered)
    for kind, names in (
        ("strategy", args.strategies),
        ("policy", args.policies),
        ("classifier", args.classifiers),
    ):
        for name in names:
            recipes.check(known, **{kind: name})
    for classifier in args.classifiers:
        recipes.check_image_size(offered, classifier, args.training.image_size)


def _document(results: StudyResults, name: str, out: Path) -> dict[str, Any]:
    import json

    return {
        "study": name,
        "results": str(out / "results.json"),
        "report": str(out / "report.html"),
        **{key: value for key, value in json.loads(results.to_json()).items() if key != "study"},
    }


def _print(console: "Console", results: StudyResults, out: Path) -> None:
    console.print(_table(results))
    for row in results.rows:
        if lost := _lost(row):
            console.print(f"{escape(row.label)}: classes that got worse: {escape(lost)}")
    if results.test_sets:
        console.print(_on_test_sets(results))
    for text in (*(one.sentence for one in results.selections), *_sentences(results)):
        console.print(escape(text))
    untested = [gain.class_name for gain in results.baseline.classes if gain.accuracy is None]
    if untested:
        console.print(f"no test images: {escape(', '.join(untested))}")
    for one in results.failures:
        console.print(
            f"[red]failed[/red] {escape(one.label)}, seed {one.seed}: {escape(one.message)}"
        )
    for row in results.rows:
        for text in row.shortfalls:
            console.print(f"[yellow]fell short[/yellow] {escape(row.label)}: {escape(text)}")
    console.print(f"report  {escape(str(out / 'report.html'))}")
    console.print(f"numbers {escape(str(out / 'results.json'))}")


def _table(results: StudyResults) -> Grid:
    """A line for each row; a strategy that all methods have is said once, above them."""
    strategies = sorted({row.strategy for row in results.methods})
    is_one = len(strategies) < 2
    right = ("added", "accuracy %", "gain, points", "95 % interval", "p, Holm")
    extra = ("balanced %", "gain, balanced") if results.is_unequal else ()
    columns = (*right, *extra)
    names = ("row",) if is_one else ("row", "strategy")
    title = f"strategy: {strategies[0]}" if is_one and strategies else ""
    shown = table(*names, *columns, "by 2 s.e.", title=title, right=columns)
    for row in results.rows:
        style = "bold" if row is results.best else "dim" if row.is_reference else ""
        strategy = [] if is_one else [escape(row.strategy or "real")]
        cells = _cells(row, unequal=results.is_unequal)
        shown.add_row(escape(row.label), *strategy, *cells, style=style)
    return shown


def _lost(row: ResultRow) -> str:
    """The classes that lost most, with points, and how many more lost; "" if none did."""
    losses = sorted(
        (gain.gain, gain.class_name)
        for gain in row.classes
        if gain.gain is not None and gain.gain < -0.0005
    )
    named = ", ".join(f"{name} {100 * gain:.1f}" for gain, name in losses[:3])
    return named + (f" and {len(losses) - 3} more" if len(losses) > 3 else "")


def _on_test_sets(results: StudyResults) -> Grid:
    heads = ((f"{name} %", f"gain, {name}") for name in results.test_sets)
    columns = tuple(head for pair in heads for head in pair)
    shown = table("row", *columns, right=columns)
    for row in results.rows:
        cells = []
        for one in row.test_sets.values():
            gained = plus_minus(one.gain, one.gain_standard_error, sign=True)
            cells += [plus_minus(one.mean_accuracy, one.standard_error)]
            cells += ["" if row.method == "baseline" else gained]
        shown.add_row(escape(row.label), *cells)
    return shown


def _sentences(results: StudyResults) -> list[str]:
    """What two standard errors say of the best row, and of each row that is worse."""
    best, count = results.best, len(results.seeds)
    if best is None:
        return []
    if count < 2:
        return ["One seed says nothing about chance: no row can claim a gain or a loss."]
    worse = [row for row in results.methods if row.loses_to_baseline]
    verb = "beats" if best.beats_baseline else "does not beat"
    said = [] if best in worse else [(best, f"{verb} the baseline by")]
    said += [(row, "is worse than the baseline by") for row in worse]
    seeds = f"({count} seeds)"
    return [f"{row.label} {what} more than two standard errors {seeds}" for row, what in said]


def _cells(row: ResultRow, *, unequal: bool) -> list[str]:
    """The columns after name and strategy."""
    is_baseline = row.method == "baseline"
    balanced = ["", ""] if unequal else []
    if unequal and row.balanced is not None:
        even = row.balanced
        gained = plus_minus(even.gain, even.gain_standard_error, sign=True)
        balanced = [
            plus_minus(even.mean_accuracy, even.standard_error),
            "" if is_baseline else gained,
        ]
    word = verdict(row.beats_baseline, row.loses_to_baseline, row.gain_standard_error)
    return [
        f"{row.added_image_count:,}",
        plus_minus(row.mean_accuracy, row.standard_error),
        "" if is_baseline else plus_minus(row.gain, row.gain_standard_error, sign=True),
        "" if is_baseline else interval(row.gain_interval),
        "" if row.is_reference else chance(row.p_holm),
        *balanced,
        "" if is_baseline else word,
    ]
