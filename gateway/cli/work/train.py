"""The work of `variegate train`: train without and with the added images, compare."""

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from variegate.gateway.v1.gateway_pb2 import Dataset
from variegate.trainer.v1 import trainer_pb2 as pb

from gateway.cli import outputs, recipes
from gateway.cli.arguments import TrainArguments
from gateway.cli.execute import CommandResult
from gateway.cli.foreign import import_foreign
from gateway.cli.session import Session
from gateway.cli.steps import import_images, import_test_sets, shortfall
from gateway.cli.synthetic import Added, source_line, store_synthetic
from gateway.cli.tables import percent, plus_minus, table, verdict
from gateway.cli.tracked import id_of, of_run
from gateway.cli.tracking import Wandb
from gateway.cli.trained import RESULTS, Keeper
from gateway.cli.training import (
    EachRun,
    Lesson,
    code_of,
    plan_of,
    recipe_line,
    recipes_of,
    settings_of,
)
from gateway.cli.training import train as run_all
from gateway.export.statistics import compare, mean, standard_error

if TYPE_CHECKING:
    from rich.console import Console


async def run(session: Session, args: TrainArguments, track: str | None = None) -> CommandResult:
    """Trains with every seed, and with --synthetic both without and with its images."""
    training = args.training
    if args.kept or track:
        session.connection.need_store()
    if training.weights.read:
        await asyncio.to_thread(training.weights.put, session.connection.need_store())
    offered = await recipes_of(session)
    known = recipes.of_trainer(offered)
    recipes.check(
        known, strategy=args.strategy, policy=training.policy, classifier=training.classifier
    )
    recipes.check_image_size(offered, training.classifier, training.image_size)
    dataset = await import_images(
        session,
        args.source,
        args.test,
        args.subset,
        refuse_leaks=args.refuse_leaks,
        reading=args.reading,
    )
    added = None
    if args.synthetic:
        store = session.connection.need_store()
        foreign = await import_foreign(session, args.synthetic, args.reading)
        added = await asyncio.to_thread(
            store_synthetic, store, args.synthetic, dataset.manifest_uri, foreign
        )
        for source in added.sources:
            session.view.say(source_line(asdict(source)))
    # The code trains; another gives another classifier, as other models give other images.
    code = {"trainer": code_of(offered)}
    place = outputs.OutputFolder(args.kept.out, args.run_id(), code) if args.kept else None
    test_sets = await _test_sets(session, args)
    plain = Lesson(
        dataset.manifest_uri,
        test_sets=test_sets,
        validation=any(one.validation_count for one in dataset.classes),
        export_onnx=args.onnx,
        **training.values(),
    )
    lessons = [("real", plain)] if added is None or args.compare else []
    if added is not None:
        lesson = replace(plain, synthetic_manifest_uri=added.manifest_uri, strategy=args.strategy)
        lessons.append((args.strategy or "combined", lesson))
    # All are checked before the first is trained.
    plans = [await plan_of(session, lesson) for _, lesson in lessons]
    keeper = _keeper(session, args, place, dataset) if place else None
    each = _each(session, keeper, tracker := Wandb() if track else None, dataset, args.run_id())
    rows = [
        _row(strategy, await run_all(session, lesson, plan, args.seeds, each))
        for (strategy, lesson), plan in zip(lessons, plans, strict=True)
    ]
    document = _document(dataset.name, added, rows)
    if keeper and place:
        document["out"] = str(keeper.out)
        keeper.finish(document)
        outputs.finish(place, dataset=dataset.name)
    if tracker:
        await tracker.conclude(session.view.say)
    return CommandResult(document, lambda console: _print(console, document), shortfall(dataset))


async def _test_sets(session: Session, args: TrainArguments) -> tuple[dict[str, str], ...]:
    found = await import_test_sets(session, args.test_sets, args.reading)
    return tuple({"name": name, "manifest_uri": one.manifest_uri} for name, one in found)


def _each(
    session: Session, keeper: Keeper | None, tracker: Wandb | None, dataset: Dataset, group: str
) -> EachRun:
    """Keeps and logs each run as it ends."""

    async def each(run: pb.TrainingRun) -> None:
        if keeper:
            await keeper.keep(run)
        if tracker:
            store = session.connection.need_store()
            await tracker.log(id_of(run.name), lambda: of_run(store, run, dataset, group))

    return each


def _keeper(
    session: Session, args: TrainArguments, place: outputs.OutputFolder, dataset: Dataset
) -> Keeper:
    """Takes the output folder."""
    store, kept = session.connection.need_store(), args.kept
    if kept is not None:
        outputs.claim(place, resume=kept.resume, overwrite=kept.overwrite)
    names = {entry.class_name: entry.display_name or entry.class_name for entry in dataset.classes}
    return Keeper(store, place.folder, names)


def _row(strategy: str, runs: list[Any]) -> dict[str, Any]:
    accuracies = [run.result.accuracy for run in runs]
    balanced = [run.result.balanced_accuracy for run in runs]
    first = runs[0]
    return {
        "strategy": strategy,
        "training_runs": [run.name for run in runs],
        "accuracies": accuracies,
        "mean_accuracy": mean(accuracies),
        "standard_error": standard_error(accuracies),
        "balanced_accuracies": balanced,
        "mean_balanced_accuracy": mean(balanced),
        "balanced_standard_error": standard_error(balanced),
        "class_accuracies": {
            entry.class_name: mean([run.result.classes[at].accuracy for run in runs])
            if entry.HasField("accuracy")
            else None
            for at, entry in enumerate(first.result.classes)
        },
        "class_test_counts": [entry.test_image_count for entry in first.result.classes],
        "real_image_count": first.result.real_image_count,
        "synthetic_image_count": first.result.synthetic_image_count,
        "test_image_count": first.result.test_image_count,
        "training": settings_of(first),
        **_measured(runs),
    }


def _measured(runs: list[Any]) -> dict[str, Any]:
    """What is known of calibration, of the five likeliest classes and of further test sets."""
    found: dict[str, Any] = {}
    results = [run.result for run in runs]
    if failures := sorted({one.onnx_failure for one in results if one.onnx_failure}):
        found["onnx_failures"] = failures
    for name in ("top5_accuracy", "calibration_error"):
        if all(result.HasField(name) for result in results):
            found[name] = mean([getattr(result, name) for result in results])
    if all(result.HasField("validation") for result in results):
        found["validation"] = _test_set([result.validation for result in results])
    sets = {
        one.name: [result.test_sets[at] for result in results]
        for at, one in enumerate(results[0].test_sets)
    }
    if sets:
        found["test_sets"] = {name: _test_set(of_seeds) for name, of_seeds in sets.items()}
    return found


def _test_set(of_seeds: list[Any]) -> dict[str, Any]:
    accuracies = [one.accuracy for one in of_seeds]
    return {
        "accuracies": accuracies,
        "mean_accuracy": mean(accuracies),
        "standard_error": standard_error(accuracies),
        "mean_balanced_accuracy": mean([one.balanced_accuracy for one in of_seeds]),
        "calibration_error": mean([one.calibration_error for one in of_seeds]),
        "test_image_count": of_seeds[0].test_image_count,
    }


def _document(dataset: str, added: Added | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "dataset": dataset,
        "synthetic": [asdict(source) for source in added.sources] if added else [],
        "rows": rows,
    }
    if len(rows) == 2:
        for name, prefix in (("accuracies", ""), ("balanced_accuracies", "balanced_")):
            one = compare(rows[1][name], rows[0][name])
            document |= {
                f"{prefix}gain": one.gain,
                f"{prefix}gain_standard_error": one.gain_standard_error,
                f"{prefix}beats_baseline": one.beats_baseline,
                f"{prefix}loses_to_baseline": one.loses_to_baseline,
            }
    return document


def _print(console: "Console", document: dict[str, Any]) -> None:
    for source in document["synthetic"]:
        console.print(escape(source_line(source)))
    rows = document["rows"]
    unequal = len({count for count in rows[0]["class_test_counts"] if count}) > 1
    sets = tuple(rows[0].get("test_sets", {}))
    extra = (*(("balanced %",) if unequal else ()), *(f"{name} %" for name in sets))
    right = ("accuracy %", *extra, "images")
    shown = table("", *right, "each seed", right=right)
    for row in rows:
        count = row["real_image_count"] + row["synthetic_image_count"]
        each = "  ".join(percent(accuracy) for accuracy in row["accuracies"])
        cells = [plus_minus(row["mean_accuracy"], row["standard_error"])]
        if unequal:
            figures = row["mean_balanced_accuracy"], row["balanced_standard_error"]
            cells.append(plus_minus(*figures))
        for name in sets:
            one = row["test_sets"][name]
            cells.append(plus_minus(one["mean_accuracy"], one["standard_error"]))
        shown.add_row(escape(row["strategy"]), *cells, str(count), each)
    console.print(shown)
    classes = table("class", *(row["strategy"] for row in rows))
    for name in rows[0]["class_accuracies"]:
        values = [row["class_accuracies"][name] for row in rows]
        classes.add_row(
            escape(name), *("no test images" if v is None else percent(v) for v in values)
        )
    console.print(classes)
    console.print(escape(recipe_line(rows[-1]["training"])), style="dim")
    for row in rows:
        for failure in row.get("onnx_failures", ()):
            console.print(escape(f"{row['strategy']}: {failure}"), style="yellow")
        if "calibration_error" in row:
            text = f"{row['strategy']}: calibration error {percent(row['calibration_error'])} %"
            if "top5_accuracy" in row:
                text += f", among the five likeliest {percent(row['top5_accuracy'])} %"
            console.print(escape(text), style="dim")
        if one := row.get("validation"):
            share = plus_minus(one["mean_accuracy"], one["standard_error"])
            text = f"{row['strategy']}: {share} % of {one['test_image_count']:,} validation images"
            console.print(escape(text), style="dim")
    if "gain" in document:
        console.print(_gain(document, ""))
        if unequal:
            console.print(_gain(document, "balanced_"))
    if "out" in document:
        console.print(escape(f"kept    {Path(document['out']) / RESULTS}, a folder for each run"))


def _gain(document: dict[str, Any], prefix: str) -> str:
    gain, error = document[f"{prefix}gain"], document[f"{prefix}gain_standard_error"]
    what = "gain in balanced accuracy" if prefix else "gain"
    said = {
        "n/a": "one seed says nothing about chance",
        "better": "more than two standard errors",
        "worse": "worse by more than two standard errors",
        "unsure": "not beyond two standard errors",
    }
    word = verdict(
        document[f"{prefix}beats_baseline"], document[f"{prefix}loses_to_baseline"], error
    )
    return f"{what} [bold]{plus_minus(gain, error, sign=True)}[/bold] points, {said[word]}"
