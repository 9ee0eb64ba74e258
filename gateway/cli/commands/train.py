"""`variegate train`: how good a classifier the images give, with and without the new ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.execute import Outcome, checked, execute
from gateway.cli.failures import CliError
from gateway.cli.folders import check_folders, check_tested
from gateway.cli.inputs import Reading, import_roots
from gateway.cli.wishes import TrainWish

if TYPE_CHECKING:
    from gateway.cli.session import Session

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


def train(
    source: options.Source,
    test: options.Test = None,
    layout: options.Layout = "auto",
    follow_links: options.FollowLinks = False,
    synthetic: Synthetic = None,
    strategy: Strategy = "",
    seeds: Seeds = 3,
    shots: options.Shots = 0,
    refuse_leaks: options.RefuseLeaks = False,
    policy: Policy = "",
    classifier: Classifier = "",
    steps: StepCount = 0,
    compare: Compare = True,
    gateway: options.Gateway = None,
    trainer: options.Trainer = None,
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    device: options.Device = "",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train and test a classifier; with --synthetic also measure what the images gained."""
    common = options.Common(gateway, trainer, store, state, json, debug, device=device)
    wish = TrainWish(
        source, test, synthetic, strategy, seeds, shots, policy, classifier, steps, compare,
        refuse_leaks,
        Reading(layout, follow_links),
    )  # fmt: skip
    checked(common, lambda: _check(wish))

    async def work(session: "Session") -> Outcome:
        from gateway.cli.work import train

        return await train.run(session, wish)

    execute(common, work, roots=import_roots(source, test, reading=wish.reading))


def _check(wish: TrainWish) -> None:
    check_tested(check_folders(wish.source, wish.test, wish.reading), wish.source)
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
