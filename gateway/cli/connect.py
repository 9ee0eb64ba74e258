"""Finds the system to talk to: one that was named, one that `up` runs here, or one of our own."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gateway.cli.failures import CliError
from gateway.cli.options import Common, Tls
from gateway.cli.root import System, module
from gateway.cli.running import Running, holder_of, make_lock, published, running_in
from servicekit.storage import ObjectStore, open_store
from servicekit.tls.certificates import Certificates
from servicekit.tls.files import client_files


@dataclass(frozen=True)
class Endpoints:
    """Where the services and the images are; what is not known is None."""

    gateway: str
    trainer: str | None
    store: ObjectStore | None
    is_own: bool
    certificates: Certificates | None = None  # Without, they are called without TLS.

    def need_store(self) -> ObjectStore:
        """The object store. Raises CliError if it is not known."""
        if self.store is None:
            raise CliError(
                "The images of a running system are in its object store, which was not given.",
                remedy="Add --store URL (or VARIEGATE_STORE), as the system itself was started.",
                reason="STORE_UNKNOWN",
            )
        return self.store

    def need_trainer(self) -> str:
        """The trainer's address. Raises CliError if it is not known."""
        if self.trainer is None:
            raise CliError(
                "The trainer of the running system was not given.",
                remedy="Add --trainer HOST:PORT (or VARIEGATE_TRAINER).",
                reason="TRAINER_UNKNOWN",
            )
        return self.trainer


@asynccontextmanager
async def connected(
    common: Common, roots: tuple[Path, ...], say: Callable[[str], None], *, start: bool = True
) -> AsyncIterator[Endpoints]:
    """Opens the connection; ends the embedded system, if one was started, with the block.

    With `start` false none is started: CliError if no system runs here.
    """
    url = store_url(common)
    if common.gateway:
        _tell_what_it_keeps(common, say)
        store = open_store(url) if url else None
        certificates = _certificates(common.tls)
        yield Endpoints(
            common.gateway, common.trainer, store, is_own=False, certificates=certificates
        )
        return
    running = running_in(common.state)
    if running and (running.is_shared or not start):
        if start:
            _refuse_other_settings(common, running)
        say(f"using the system on {running.targets['gateway']} (process {running.pid})")
        yield _connection(common.state, running.targets, running.store, is_own=False)
        return
    if not start:
        raise _nothing_runs(common.state)
    if running:
        raise _in_use(common.state, running)
    say("starting the services")
    async with embedded(common, roots, store=url) as system:
        with published(common.state, system.targets, url, is_shared=False):
            yield _connection(common.state, system.targets, url, is_own=True)


def _certificates(tls: Tls) -> Certificates | None:
    files = client_files(tls.certificate, tls.key, tls.ca, "--tls-")
    return None if files is None else Certificates(files, "client")


def _nothing_runs(state: Path) -> CliError:
    if holder := holder_of(state):
        return CliError(
            f"The system of process {holder} in {state} is starting, or ending.",
            exit_code=4,
            remedy="Try again in a moment.",
            reason="NOT_READY",
        )
    return CliError(
        f"No system is running in {state}.",
        exit_code=3,
        remedy="Name one with --gateway HOST:PORT, or start one with `variegate up`. A run "
        "that was stopped resumes when its command is repeated.",
        reason="NOT_RUNNING",
    )


def _in_use(state: Path, running: Running) -> CliError:
    return CliError(
        f"The state folder {state} is in use by process {running.pid}: {running.command}",
        exit_code=3,
        remedy="Wait for it (`variegate status` shows how far it is), stop it, or choose another "
        "folder with --state. `variegate up` is a system that takes work from several commands.",
        reason="STATE_IN_USE",
    )


def store_url(common: Common) -> str:
    """The URL of the object store that was asked for, also by commands without the option."""
    asked = common.store or os.environ.get("VARIEGATE_STORE", "")
    alone = os.environ.get("SERVER_STORE", "")
    if asked and alone and asked != alone:
        raise CliError(
            f"SERVER_STORE is {alone}, and --store (or VARIEGATE_STORE) is {asked}.",
            remedy="Leave one of them out.",
            reason="STORE_UNCLEAR",
        )
    return asked or alone


def embedded(
    common: Common, roots: tuple[Path, ...], *, port_base: int = 0, store: str = ""
) -> AbstractAsyncContextManager[System]:
    """The six services in this process, not started yet; they log into the state folder."""
    state = common.state
    try:
        choices = module("configuration").Choices(common.models, common.device, common.dtype)
        factory = module("system").EmbeddedSystem
        system = factory(state, roots, port_base=port_base, store=store, choices=choices)
        state.mkdir(parents=True, exist_ok=True)
        make_lock(state)
    except OSError as error:
        raise CliError(
            f"The state folder {state} cannot be made or written to: {error.strerror or error}.",
            exit_code=3,
            remedy="Choose another with --state DIR or VARIEGATE_STATE.",
            reason="STATE_NOT_WRITABLE",
        ) from error
    # Warnings of libraries go the way of the log: the terminal is for people.
    logging.captureWarnings(True)
    return cast(AbstractAsyncContextManager[System], system)


def _tell_what_it_keeps(common: Common, say: Callable[[str], None]) -> None:
    """A system elsewhere was set up by who started it. Raises CliError if options say otherwise."""
    if chosen := common.chosen():
        raise CliError(
            f"{chosen[0]} configures a system that is started here, but {common.gateway} is "
            "already running.",
            remedy=f"Leave {chosen[0]} out, or set it where that system is started.",
            reason="SETTINGS_OF_ANOTHER",
        )
    if names := module("configuration").set_by(os.environ):
        say(f"warning: {', '.join(names)} changes nothing: {common.gateway} has its own settings")


def _refuse_other_settings(common: Common, running: Running) -> None:
    """Raises CliError if something was set that the running system was not started with."""
    if (url := store_url(common)) and url != (running.store or own_store(common.state)):
        raise _other_settings(common, running, "The store", url, running.store or "its own")
    configuration = module("configuration")
    choices = configuration.Choices(common.models, common.device, common.dtype)
    asked = configuration.texts_of(configuration.explicit(os.environ, choices))
    for name, value in asked.items():
        has = running.variables.get(name)
        if has != value:
            raise _other_settings(common, running, name, value, has or "its default")


def _other_settings(common: Common, running: Running, name: str, value: str, has: str) -> CliError:
    return CliError(
        f"{name} should be {value}, but the system running in {common.state} (process "
        f"{running.pid}) was started with {has}.",
        exit_code=3,
        remedy="Stop that system, leave the setting out, or use another --state.",
        reason="OTHER_SETTINGS",
    )


def own_store(state: Path) -> str:
    """The URL of the store that a system keeps in its state folder if it is told of no other."""
    return (state.absolute() / "objects").as_uri()


def _connection(state: Path, targets: Mapping[str, str], url: str, *, is_own: bool) -> Endpoints:
    """The embedded system keeps its objects in a folder of its state, unless told otherwise."""
    store = open_store(url or own_store(state))
    return Endpoints(targets["gateway"], targets.get("trainer"), store, is_own)
