"""What the settings of the six services are in one process: the environment's, and flags.

The services read the same variables as alone. What the system must decide itself, such as where its
services listen, is refused and not overridden.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.triton import ENGINE_KEY
from embedded.vllm import PROMPTER_KEY
from servicekit.places import SERVICES
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError, create, is_foreign, read

# Names the folder that `Choices.models` does.
MODELS_KEY = "VARIEGATE_MODELS"

# The parts of a models folder, and which setting each is.
PARTS = {
    "captioner.model": "captioner",
    "generator.models_folder": "diffusion",
    "retriever.clip": "clip",
    "trainer.models_folder": "diffusion",
}
_COMPUTING = ("captioner", "generator", "retriever", "trainer")
_OWN = "the system that starts here has its own; use --gateway to talk to another"
_ALONE = "it is for a service alone (`variegate serve`)"
_REFUSED = {
    **{f"gateway.{service}": _OWN for service in SERVICES[1:]},
    **{
        f"{side}.tls_{part}": f"the system that starts here is on loopback, without TLS; {_ALONE}"
        for side in ("server", "gateway")
        for part in ("certificate", "key", "ca")
    },
    "server.health_port": _ALONE,
    "server.host": f"the system that starts here listens on 127.0.0.1; {_ALONE}",
    "server.port": f"use --port-base of `variegate up`; {_ALONE}",
    "server.metrics_port": _ALONE,
}
# A server that is started here decides these.
_PLACED = (
    (ENGINE_KEY, "triton", ("generator.backend", "generator.triton")),
    (PROMPTER_KEY, "vllm", ("prompter.llm",)),
)

Explicit = dict[str, Any]


@dataclass(frozen=True)
class Choices:
    """What one flag says to several services; empty says nothing.

    `models` is a folder with clip/, captioner/ and diffusion/NAME/ in it.
    """

    models: Path | None = None
    device: str = ""
    dtype: str = ""

    def values(self) -> Iterator[tuple[str, str, Any]]:
        """Yields what sets it, the setting "service.field", and its value."""
        if self.models is not None:
            for key, part in PARTS.items():
                yield "--models", key, self.models.expanduser().absolute() / part
        for service in _COMPUTING if self.device else ():
            yield "--device", f"{service}.device", self.device
        if self.dtype:
            yield "--dtype", "generator.dtype", self.dtype


NO_CHOICES = Choices()


def explicit(environ: Mapping[str, str], choices: Choices = NO_CHOICES) -> Explicit:
    """Returns what was set, by "service.field"; "server" stands for all of them.

    Raises SettingsError for an unknown or bad setting, one that cannot be chosen here, and two that
    contradict each other.
    """
    found: Explicit = {}
    for name in (*SERVICES, "server"):
        values = read(settings_class(name), environ, name)
        create(settings_class(name), values, name)
        found |= {f"{name}.{field}": value for field, value in values.items()}
    for key, why in _REFUSED.items():
        if key in found:
            raise SettingsError(f"{_variable(key)} cannot be set: {why}")
    _check_placed(environ, found)
    for source, key, value in _chosen(environ, choices):
        if key in found and found[key] != value:
            raise SettingsError(
                f"{source} says {value} and {_variable(key)} says {found[key]}; leave one of them "
                "out"
            )
        found[key] = value
        name, _, field = key.partition(".")
        try:
            create(settings_class(name), {field: value}, name)
        except SettingsError as error:  # It is called what it was called by who set it.
            raise SettingsError(str(error).replace(_variable(key), source, 1)) from error
    return found


def set_by(environ: Mapping[str, str]) -> list[str]:
    """Returns the variables that set something of a service, whether rightly or not."""
    prefixes = tuple(f"{name.upper()}_" for name in (*SERVICES, "server"))
    return sorted(
        key
        for key, text in environ.items()
        if key.startswith(prefixes) and not is_foreign(key, text)
    )


def settings_class(name: str) -> type[Any]:
    """Returns the class of a service's settings; "server" stands for all services."""
    if name == "server":
        return ServerSettings
    module = importlib.import_module(f"{name}.settings")
    kind: type[Any] = getattr(module, f"{name.capitalize()}Settings")
    return kind


def settings_of(name: str, values: Mapping[str, Any]) -> Any:
    """Returns the settings of a service with these values by field. Raises SettingsError."""
    return create(settings_class(name), values, name)


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns what was set as the variables that would set it."""
    return {_variable(key): str(value) for key, value in sorted(values.items())}


def _chosen(environ: Mapping[str, str], choices: Choices) -> Iterator[tuple[str, str, Any]]:
    for source, folder in (("--models", choices.models), (MODELS_KEY, environ.get(MODELS_KEY))):
        if folder:
            _check_models(source, Path(folder).expanduser().absolute())
    yield from choices.values()
    if choices.models is None and (folder := environ.get(MODELS_KEY)):
        for _, key, value in Choices(Path(folder)).values():
            yield MODELS_KEY, key, value


def _check_models(source: str, folder: Path) -> None:
    """A folder that lacks a part would be completed with models that were not asked for."""
    for key, part in PARTS.items():
        if not (folder / part).is_dir():
            raise SettingsError(
                f"{source} is {folder}, which has no folder {part}; it must have clip, captioner "
                f"and diffusion (with a folder per model). {_variable(key)} sets {part} alone"
            )


def _check_placed(environ: Mapping[str, str], found: Explicit) -> None:
    for variable, value, keys in _PLACED:
        for key in keys:
            if environ.get(variable) == value and key in found:
                raise SettingsError(
                    f"{variable}={value} starts a server here, and {_variable(key)} names another; "
                    "leave one of them out"
                )


def _variable(key: str) -> str:
    return key.replace(".", "_").upper()
