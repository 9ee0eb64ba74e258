"""The work of `variegate train`: train without and with the added images, compare."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from gateway.cli.execute import Outcome
from gateway.cli.session import Session
from gateway.cli.steps import import_images, shortfall
from gateway.cli.synthetic import store_synthetic
from gateway.cli.tables import percent, plus_minus, table
from gateway.cli.training import Lesson
from gateway.cli.training import train as run_all
from gateway.cli.wishes import TrainWish
from gateway.study.statistics import beats, loses, mean, paired_gain, standard_error

if TYPE_CHECKING:
    from rich.console import Console


async def run(session: Session, wish: TrainWish) -> Outcome:
    """Trains with every seed, and with --synthetic both without and with its images."""
    session.connection.need_trainer()
    dataset = await import_images(
        session,
        wish.source,
        wish.test,
        wish.shots,
        refuse_leaks=wish.refuse_leaks,
        reading=wish.reading,
    )
    plain = Lesson(
        dataset.manifest_uri,
        policy=wish.policy,
        classifier=wish.classifier,
        step_count=wish.step_count,
    )
    rows = []
    if wish.synthetic is None or wish.compare:
        rows.append(_row("real", await run_all(session, plain, wish.seeds)))
    if wish.synthetic is not None:
        store = session.connection.need_store()
        uri = await asyncio.to_thread(store_synthetic, store, wish.synthetic)
        lesson = replace(plain, synthetic_manifest_uri=uri, strategy=wish.strategy)
        rows.append(_row(wish.strategy or "combined", await run_all(session, lesson, wish.seeds)))
    document = _document(dataset.name, wish.synthetic, rows)
    return Outcome(document, lambda console: _print(console, document), shortfall(dataset))


def _row(strategy: str, runs: list[Any]) -> dict[str, Any]:
    accuracies = [run.result.accuracy for run in runs]
    classes = {
        entry.class_name: mean([run.result.classes[at].accuracy for run in runs])
        for at, entry in enumerate(runs[0].result.classes)
    }
    return {
        "strategy": strategy,
        "training_runs": [run.name for run in runs],
        "accuracies": accuracies,
        "mean_accuracy": mean(accuracies),
        "standard_error": standard_error(accuracies),
        "class_accuracies": classes,
        "real_image_count": runs[0].result.real_image_count,
        "synthetic_image_count": runs[0].result.synthetic_image_count,
        "test_image_count": runs[0].result.test_image_count,
    }


def _document(dataset: str, synthetic: Path | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "dataset": dataset,
        "synthetic": str(synthetic) if synthetic else None,
        "rows": rows,
    }
    if len(rows) == 2:
        base, added = rows[0]["accuracies"], rows[1]["accuracies"]
        gain, error = paired_gain(added, base)
        document |= {
            "gain": gain,
            "gain_standard_error": error,
            "beats_baseline": beats(gain, error),
            "loses_to_baseline": loses(gain, error),
        }
    return document


def _print(console: "Console", document: dict[str, Any]) -> None:
    shown = table("", "accuracy %", "images", "each seed", right=("accuracy %", "images"))
    for row in document["rows"]:
        count = row["real_image_count"] + row["synthetic_image_count"]
        each = "  ".join(percent(accuracy) for accuracy in row["accuracies"])
        accuracy = plus_minus(row["mean_accuracy"], row["standard_error"])
        shown.add_row(escape(row["strategy"]), accuracy, str(count), each)
    console.print(shown)
    classes = table("class", *(row["strategy"] for row in document["rows"]))
    for name in document["rows"][0]["class_accuracies"]:
        values = [percent(row["class_accuracies"][name]) for row in document["rows"]]
        classes.add_row(escape(name), *values)
    console.print(classes)
    if "gain" in document:
        gain = plus_minus(document["gain"], document["gain_standard_error"], sign=True)
        sure = "more than" if document["beats_baseline"] else "not above"
        console.print(f"gain [bold]{gain}[/bold] points, {sure} two standard errors")
