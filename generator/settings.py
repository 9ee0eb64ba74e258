"""Settings of the generator process, each from GENERATOR_... in the environment."""

from dataclasses import dataclass, fields
from pathlib import Path

from generator.engine.settings import EngineSettings
from servicekit.settings import setting

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "diffusion"


@dataclass(frozen=True)
class GeneratorSettings(EngineSettings):
    """Which models are served, and how. The engine's own settings come first."""

    models_folder: Path = setting(
        _NANO, "Holds a diffusers folder per model, safetensors only; the folder's name is its."
    )
    models: tuple[str, ...] = setting((), "Names of the models to serve; all of them if empty.")
    backend: str = setting(
        "embedded",
        "embedded: the engine in this process; triton: in a Triton server with the same models and "
        "the same settings.",
        choices=("embedded", "triton"),
    )
    triton: str = setting("127.0.0.1:8001", "Where Triton listens for gRPC, HOST:PORT.")
    shared_memory: bool = setting(
        False, "Whether tensors reach Triton through /dev/shm, which both must share."
    )
    text_artefacts_mib: int = setting(
        256, "Most memory for learned words and conditionings that are kept, in MiB.", least=1
    )
    probe_seconds: float = setting(
        5.0, "How often a real, small image proves that images can be made.", least=0.001
    )

    def engine(self) -> EngineSettings:
        """Returns how the engine runs."""
        names = [field.name for field in fields(EngineSettings)]
        return EngineSettings(**{name: getattr(self, name) for name in names})
