"""The backends by their names in the settings. Torch is imported when one starts, not before."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from diffusion.registry import Registry, scan
from generator.backend import Backend
from generator.errors import translated
from generator.settings import GeneratorSettings
from servicekit.errors import Precondition
from servicekit.storage import ObjectStore

if TYPE_CHECKING:
    from generator.engine.engine import Engine

B = TypeVar("B", bound=Backend)


def start_engine(settings: GeneratorSettings, store: ObjectStore) -> "Engine":
    """Loads the models into this process. Raises Precondition if none of them can be used."""
    from generator.artefacts import fetch_from
    from generator.engine.engine import Engine

    with translated():
        registry = scan(settings.models_folder, settings.models)
        engine = Engine(registry, settings.engine(), fetch_from(store))
    return _usable(engine, engine.registry, settings)


def start_triton(settings: GeneratorSettings, store: ObjectStore) -> Backend:
    """Loads the encoders and leaves the rest to Triton, which need not be there yet.

    Raises Precondition if no model can be used.
    """
    from generator.triton.backend import TritonBackend

    with translated():
        backend = TritonBackend(scan(settings.models_folder, settings.models), settings)
    return _usable(backend, backend.registry, settings)


def _usable(backend: B, registry: Registry, settings: GeneratorSettings) -> B:
    if registry.cards:
        return backend
    backend.close()
    why = "; ".join(str(error) for error in registry.refused.values())
    raise Precondition(
        f"no model in {settings.models_folder} can be used: {why or 'the folder has none'}",
        subject=str(settings.models_folder),
        reason="NO_MODEL",
    )


BACKENDS: Mapping[str, Callable[[GeneratorSettings, ObjectStore], Backend]] = {
    "embedded": start_engine,
    "triton": start_triton,
}
