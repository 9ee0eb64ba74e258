"""What `variegate doctor` finds of what was set: models, devices, store and language model."""

import importlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.cli.options import Common
from gateway.cli.root import module

_COMPUTING = ("captioner", "generator", "retriever", "trainer")


@dataclass(frozen=True)
class Check:
    """One finding. A failed check that is not `required` is a warning."""

    name: str
    passed: bool
    detail: str
    remedy: str = ""
    required: bool = True


def settings_checks(common: Common) -> Iterator[Check]:
    """Checks what the flags and the environment say, where they say nothing what is shipped."""
    from servicekit.settings import SettingsError

    configuration = module("configuration")
    try:
        choices = configuration.Choices(common.models, common.device, common.dtype)
        found = configuration.explicit(os.environ, choices)
    except SettingsError as error:
        yield Check("settings", False, str(error), "Correct that setting, or leave it out.")
        return
    yield Check("settings", True, f"{len(found)} are set" if found else "none is set")

    def settings(name: str) -> Any:
        values = {key: value for key, value in found.items() if key.startswith(f"{name}.")}
        return configuration.settings_of(
            name, {key.partition(".")[2]: value for key, value in values.items()}
        )

    if common.store:
        yield _store(common.store)
    yield from (_device(name, settings(name).device) for name in _COMPUTING)
    yield _language_model(settings("prompter").llm)
    for name, folder in _model_folders(settings):
        yield weight(folder, name, "Give another with --models FOLDER, or get the files again.")


def _model_folders(settings: Callable[[str], Any]) -> Iterator[tuple[str, Path]]:
    yield "clip", Path(settings("retriever").clip)
    yield "captioner", Path(settings("captioner").model)
    generator = settings("generator")
    folder = Path(generator.models_folder)
    names = generator.models or sorted(
        path.parent.name for path in folder.glob("*/model_index.json")
    )
    if not names:
        yield "diffusion", folder
    yield from ((f"diffusion/{name}", folder / name) for name in names)


def _store(url: str) -> Check:
    from servicekit.errors import ServiceError
    from servicekit.storage import check_store, open_store

    try:
        check_store(open_store(url))
    except ServiceError as error:
        return Check("store", False, error.message, "Correct --store or VARIEGATE_STORE.")
    return Check("store", True, url)


def _device(name: str, device: str) -> Check:
    from servicekit.devices import find_device
    from servicekit.errors import ServiceError

    title = f"device of {name}"
    try:
        found = find_device(device, f"{name.upper()}_DEVICE")
    except (ServiceError, ImportError) as error:
        return Check(title, False, str(error), "Choose another with --device.")
    return Check(title, True, str(found))


def _language_model(llm: str) -> Check:
    """Whether a server is there, or a folder; the packaged one is among the packages."""
    title, remedy = "language model", "Set PROMPTER_LLM to another, or start it."
    url = urlsplit(llm)
    if url.scheme in ("http", "https"):
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            with socket.create_connection((url.hostname or "", port), 3):
                return Check(title, True, llm, required=False)
        except OSError as error:
            return Check(title, False, f"{llm}: {error}", remedy, required=False)
    if llm in ("packaged", "none"):
        return Check(title, True, llm)
    return Check(title, Path(llm).is_dir(), llm, remedy)


def weight(folder: Path, name: str, remedy: str) -> Check:
    """Loads every weight file of one model and counts what is in it."""
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        return Check(f"weights {name}", False, f"no weights in {folder}", remedy)
    try:
        tensors = sum(_tensors(file) for file in files)
    except Exception as error:  # a broken file can fail in any way; each is a finding
        return Check(f"weights {name}", False, f"{type(error).__name__}: {error}", remedy)
    size = sum(file.stat().st_size for file in files) / 2**20
    digest = _digest(files)
    return Check(f"weights {name}", True, f"{tensors} tensors, {size:.1f} MiB, sha256 {digest}")


def _tensors(file: Path) -> int:
    open_: Callable[..., object] = importlib.import_module("safetensors").safe_open
    with open_(file, framework="numpy") as weights:  # type: ignore[attr-defined]
        for key in weights.keys():  # noqa: SIM118
            weights.get_tensor(key)
        return len(weights.keys())


def _digest(files: list[Path]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
