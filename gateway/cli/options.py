"""Options that several commands share, so that they read the same everywhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.failures import CliError

_SYSTEM = "System"


def _address(value: str | None) -> str | None:
    """HOST:PORT, or a name that gRPC resolves (dns:///NAME:PORT); an empty variable is none."""
    if not value:
        return None
    host, _, port = value.rpartition(":")
    is_plain = ("://" not in host and host.count(":") == 0) or host[:1] + host[-1:] == "[]"
    if not host or not port.isdecimal() or int(port) > 65535 or not (is_plain or "://" in host):
        raise typer.BadParameter(f"{value!r} is not HOST:PORT, such as 127.0.0.1:50051.")
    return value


Source = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER",
        help="A folder with a folder of images per class, or a .tar of it, or WebDataset shards "
        "(.tar) or parquet files, one or a folder of them; or dataset:NAME, what "
        "`variegate import --name NAME` imported.",
        show_default=False,
    ),
]
Test = Annotated[
    str | None,
    typer.Option(
        "--test",
        metavar="DIR",
        help="Test images, in the same form; by default those of a folder test (or val) in FOLDER.",
        show_default=False,
    ),
]
Layout = Annotated[
    Literal["auto", "classes"],
    typer.Option(
        help="What the first folders are. auto: train, test, val and the like are splits, a single "
        "folder is gone through, all others are classes; classes: all are classes.",
    ),
]
ImageColumn = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Column of the images in a table, or their suffix in shards (rgb.png); by default the "
        "usual names.",
        show_default=False,
    ),
]
LabelColumn = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Column of the classes in a table, their field in the JSON of shards, or their suffix "
        "there (fine.cls); by default class_name, else label.",
        show_default=False,
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Follow links that leave FOLDER, and links to folders; a running system reads only "
        "what lies below its --import-root.",
    ),
]
RefuseLeaks = Annotated[
    bool,
    typer.Option(
        "--refuse-leaks", help="Stop if training images repeat test images, exactly or nearly."
    ),
]
Names = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="FILE",
        help="What prompts call the classes: lines 'n01440764 = tench', .csv, .tsv or .json.",
        show_default=False,
    ),
]
PoolNames = Annotated[
    str | None,
    typer.Option(
        "--pool-names",
        metavar="FILE",
        help="Which classes the numbers of a pool stand for, where it names none: lines '3 = cat', "
        ".csv, .tsv or .json.",
        show_default=False,
    ),
]
Pool = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Images to retrieve from: a .parquet or .tar file, a folder of them, of images or of "
        "class folders, or store:PREFIX, the same in the store. A study has the row oracle only "
        "with a pool that names its classes.",
        show_default=False,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the method; repeatable."),
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Bit-identical images whatever the batching.")
]
Safety = Annotated[
    bool, typer.Option("--check-safety/--no-check-safety", help="Check for unsafe content.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Take up an output again: an unfinished one goes on, with or "
        "without this; of a finished one the summary is shown.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output of variegate.")]
Plan = Annotated[
    bool,
    typer.Option(
        "--plan",
        help="Say what it would take and end. A pace that is not known is measured with the first "
        "images, which are kept for the run.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Do not ask, and start even if the disk seems too small."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and progress on stderr.")
]
Gateway = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        callback=_address,
        help="Talk to a running system instead of starting one.",
        envvar="VARIEGATE_GATEWAY",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
Trainer = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        callback=_address,
        help="Trainer of the running system; needed with --gateway.",
        envvar="VARIEGATE_TRAINER",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
TlsCa = Annotated[
    str,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        help="Talk TLS to the running system; the PEM file has the authorities that signed its "
        "certificates.",
        envvar="VARIEGATE_TLS_CA",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
TlsCertificate = Annotated[
    str,
    typer.Option(
        "--tls-certificate",
        metavar="FILE",
        help="Certificate to show to the running system, if it asks for one.",
        envvar="VARIEGATE_TLS_CERTIFICATE",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
TlsKey = Annotated[
    str,
    typer.Option(
        "--tls-key",
        metavar="FILE",
        help="Key of that certificate.",
        envvar="VARIEGATE_TLS_KEY",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Object store, file:///FOLDER or s3://BUCKET?endpoint=HOST:PORT; with --gateway that "
        "of the running system.",
        envvar="VARIEGATE_STORE",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
State = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Where the system started here keeps its work.",
        envvar="VARIEGATE_STATE",
        rich_help_panel=_SYSTEM,
    ),
]
Models = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Models of the system started here: a folder with clip/, captioner/ and "
        "diffusion/NAME/ (or VARIEGATE_MODELS).",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N",
        help="Where they compute; auto takes a GPU where there is one. The services' own settings "
        "count if it is not given.",
        rich_help_panel=_SYSTEM,
        show_default=False,
    ),
]
DType = Annotated[
    str,
    typer.Option(
        metavar="float32|bfloat16|float16",
        help="Numbers of the diffusion models.",
        rich_help_panel=_SYSTEM,
        show_default="float32",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the trace of an error.", rich_help_panel=_SYSTEM),
]

DEFAULT_STATE = Path(".variegate")


@dataclass(frozen=True)
class Tls:
    """The files that a running system is called with; without an authority it is without TLS."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def chosen(self) -> list[str]:
        """The options that were given, as they are written."""
        return [f"--tls-{part}" for part, file in vars(self).items() if file]


@dataclass(frozen=True)
class Common:
    """The options that say which system to use and how to answer."""

    gateway: str | None = None
    trainer: str | None = None
    store: str | None = None
    state: Path = DEFAULT_STATE
    json: bool = False
    debug: bool = False
    models: Path | None = None
    device: str = ""
    dtype: str = ""
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        # A system of this machine listens on loopback alone, without TLS.
        if self.gateway is None and (chosen := self.tls.chosen()):
            raise CliError(
                f"{chosen[0]} is for a running system elsewhere, and none was named.",
                remedy=f"Add --gateway HOST:PORT (or VARIEGATE_GATEWAY), or leave {chosen[0]} out.",
            )

    def chosen(self) -> list[str]:
        """The options that set up a system, as they are written."""
        given = {"--models": self.models, "--device": self.device, "--dtype": self.dtype}
        return [option for option, value in given.items() if value]
