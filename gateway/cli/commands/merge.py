"""`variegate merge`: several outputs joined into one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options, outputs
from gateway.cli.commands.augment import Format
from gateway.cli.execute import CommandResult, checked, execute, settle
from gateway.cli.exporting import check_format
from gateway.cli.folders import check_added, check_folders
from gateway.cli.foreign import is_foreign
from gateway.cli.inputs import USUAL, import_roots, local_path

if TYPE_CHECKING:
    from gateway.cli.session import Session

Places = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR ...",
        help="Outputs of `variegate augment` or `merge`, and folders per class of other tools.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="New folder for all images.")]
Originals = Annotated[
    str | None,
    typer.Option(
        "--with-originals",
        metavar="DIR",
        help="Also the training images of this folder, in any form that augment takes.",
        show_default=False,
    ),
]


def merge(
    places: Places,
    out: Out,
    with_originals: Originals = None,
    form: Format = "imagefolder",
    overwrite: options.Overwrite = False,
    gateway: options.Gateway = None,
    tls_ca: options.TlsCa = "",
    tls_certificate: options.TlsCertificate = "",
    tls_key: options.TlsKey = "",
    store: options.Store = None,
    state: options.State = options.DEFAULT_STATE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Join outputs into a new folder, each image with its lineage.

    Equal files are taken once, images that a review rejected are left out, and
    images that were moved to the folder of another class are of that class.
    The new folder appears whole or not at all.

    $ variegate merge ./simple ./mvc --out ./both
    $ variegate merge ./both --with-originals ./my-images --out ./all
    """
    from gateway.cli.work.merge import MergeArguments, run

    tls = options.Tls(tls_ca, tls_certificate, tls_key)
    common = options.Common(gateway, None, store, state, json, debug, tls=tls)
    args = MergeArguments(tuple(places), out, with_originals, form, overwrite)

    def check() -> None:
        check_format(form)
        check_added(places, USUAL)
        if with_originals:
            check_folders(with_originals, None, USUAL)
        sources = [place.resolve() for place in places]
        original = local_path(with_originals) if with_originals else None
        outputs.apart(out, *sources, original)
        outputs.check(out, args.output_id(), resume=False, overwrite=overwrite)

    checked(common, check)
    strangers = [str(place) for place in places if is_foreign(place)]
    if not strangers and not with_originals:
        settle(common, lambda: run(args, {}, None))

    async def work(session: "Session") -> CommandResult:
        from gateway.cli.work.merge import imported

        return await imported(session, args)

    execute(common, work, roots=import_roots(with_originals, *strangers))
