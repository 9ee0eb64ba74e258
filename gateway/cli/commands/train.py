"""`variegate train`: how good a classifier the images give, with and without the new ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from gateway.cli import options
from gateway.cli.execute import Outcome, checked, execute
from gateway.cli.failures import CliError
from gateway.cli.inputs import import_roots, source_uri
from gateway.cli.tables import percent, plus_minus, table

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.session import Session

TestRequired = Annotated[
    str, typer.Option("--test", metavar="DIR", help="Test images, in the same form.")
]
Synthetic = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Output of `variegate augment` to add.")
]
Strategy = Annotated[
    str, typer.Option(help="How to use the added images; default combined, or real without any.")
]
Seeds = Annotated[int, typer.Option(min=1, max=100, help="Number of runs with different seeds.")]
Policy = Annotated[str, typer.Option(help="Image policy; default standard (flip, crop).")]
Classifier = Annotated[str, typer.Option(help="Classifier; default cnn4.")]
StepCount = Annotated[
    int, typer.Option("--steps", min=0, help="Optimiser steps; 0: the strategy's own.")
]
Compare = Annotated[
    bool, typer.Option("--compare/--no-compare", help="Train without the added images as well.")
]


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line."""

    source: str
    test: str
    synthetic: Path | None
    strategy: str
    seeds: int
    shots: int
    policy: str
    classifier: str
    step_count: int
    compare: bool


def train(
    source: options.Source,
    test: TestRequired,
    synthetic: Synthetic = None,
    strategy: Strategy = "",
    seeds: Seeds = 3,
    shots: options.Shots = 0,
    policy: Policy = "",
    classifier: Classifier = "",
    steps: StepCount = 0,
    compare: Compare = True,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train and test a classifier; with --synthetic also measure what the images gained."""
    common = options.Common(gateway, trainer, store, state, json, debug)
    wish = Wish(
        source, test, synthetic, strategy, seeds, shots, policy, classifier, steps, compare
    )  # fmt: skip
    checked(common, lambda: _check(wish))
    execute(common, lambda session: _train(session, wish), roots=import_roots(source, test))


def _check(wish: Wish) -> None:
    source_uri(wish.source)
    source_uri(wish.test)
    if wish.synthetic is None:
        if wish.strategy not in ("", "real"):
            raise CliError(
                f"The strategy {wish.strategy!r} needs images to add.",
                remedy="Add --synthetic DIR, an output of `variegate augment`.",
            )
    elif not (wish.synthetic / "manifest.parquet").is_file():
        raise CliError(
            f"{wish.synthetic} is no output of `variegate augment`: it has no manifest.parquet.",
            exit_code=3,
            remedy="Give the folder that was its --out.",
            reason="NO_MANIFEST",
        )


async def _train(session: "Session", wish: Wish) -> Outcome:
    import asyncio
    from dataclasses import replace

    from gateway.cli.steps import import_images
    from gateway.cli.synthetic import store_synthetic
    from gateway.cli.training import Lesson
    from gateway.cli.training import train as run_all

    session.connection.need_trainer()
    dataset = await import_images(session, wish.source, wish.test, wish.shots)
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
    return Outcome(document, lambda console: _print(console, document))


def _row(strategy: str, runs: list[Any]) -> dict[str, Any]:
    from gateway.study.statistics import mean, standard_error

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
    from gateway.study.statistics import beats, paired_gain

    document: dict[str, Any] = {
        "dataset": dataset,
        "synthetic": str(synthetic) if synthetic else None,
        "rows": rows,
    }
    if len(rows) == 2:
        base, added = rows[0]["accuracies"], rows[1]["accuracies"]
        gain, error = paired_gain(added, base)
        sure = beats(gain, error, len(base))
        document |= {"gain": gain, "gain_standard_error": error, "beats_baseline": sure}
    return document


def _print(console: "Console", document: dict[str, Any]) -> None:
    shown = table("", "accuracy %", "images", "each seed", right=("accuracy %", "images"))
    for row in document["rows"]:
        count = row["real_image_count"] + row["synthetic_image_count"]
        each = "  ".join(percent(accuracy) for accuracy in row["accuracies"])
        mean = plus_minus(row["mean_accuracy"], row["standard_error"])
        shown.add_row(escape(row["strategy"]), mean, str(count), each)
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
