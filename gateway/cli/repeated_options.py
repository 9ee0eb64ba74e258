"""Options that may be given several times."""

from typing import Annotated

import typer

Tests = Annotated[
    list[str] | None,
    typer.Option(
        "--test",
        metavar="DIR|NAME=DIR",
        help="Test images, in the same form; by default those of a folder test (or val) in FOLDER. "
        "With a NAME they are a further test set, such as drawings of the same classes, reported "
        "beside the other and used for nothing else; repeatable.",
        show_default=False,
    ),
]
AddedRows = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DIR",
        help="A row of images that are there already, called NAME: images of another tool, in any "
        "form that augment takes, or an output of `variegate augment` or `merge` made from these "
        "images. All of them are added. Repeatable; folders of one NAME are one row.",
        show_default=False,
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value of a key of the study file, for this run: --set seeds=1 --set "
        "training.steps=20. Repeatable.",
        show_default=False,
    ),
]
