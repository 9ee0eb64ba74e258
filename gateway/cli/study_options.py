"""The options of `study` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import recipes

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="Parameter of all methods that have it; repeatable."
    ),
]
OptionalSource = Annotated[
    str | None,
    typer.Argument(
        metavar="[FOLDER|FILE.yaml]",
        help="Your images, in any form that augment takes, or a study file (.yaml), which says all "
        "that the flags say; not with --demo.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="The images of a study file, before those that it names.",
        show_default=False,
    ),
]
METHODS = "mvc,retrieval"
Methods = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD,...",
        help=f"Methods to compare, separated by commas; repeatable: {', '.join(recipes.METHODS)}. "
        "A mix is one of them: simple,mvc:0.5,boomerang:0.5.",
        show_default=METHODS,
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        metavar=recipes.choices(recipes.WITH_ADDED), help="Training strategy of every method."
    ),
]
Seeds = Annotated[
    int,
    typer.Option(metavar="N", min=0, max=100, help="Number of seeds; 0: 3, or 5 with --full."),
]
PerClass = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=1_000_000, help="Images added per class; 0: 100, or 40 with --demo."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of results.json, report.html and STUDY.md.",
        show_default="out/study, or out/demo with --demo",
    ),
]
Demo = Annotated[bool, typer.Option("--demo", help="Use the photographs that ship, into out/demo.")]
Preview = Annotated[
    int,
    typer.Option(
        min=0,
        max=1000,
        metavar="N",
        help="Make only the first N images a class by each method, and a contact sheet of them: "
        "preview.png and preview.html. Nothing is trained, and the study does not make them again.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="With --demo: every method, more seeds.")]
SubsetSeeds = Annotated[
    str,
    typer.Option(
        metavar="N|LIST",
        help="Draw a subset for each seed: how many there are, or their subset seeds (0,3,7). The "
        "errors then contain the choice of real images; all rows of a seed have the same.",
        show_default="all seeds have one",
    ),
]
