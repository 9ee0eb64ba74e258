"""Settings of the generator process, each from GENERATOR_... in the environment."""

from dataclasses import dataclass, fields
from pathlib import Path

from generator.engine.settings import EngineSettings

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "diffusion"


@dataclass(frozen=True)
class GeneratorSettings:
    """Which models are served, and how.

    `models_folder` holds a diffusers folder per model; `models` names those to serve, all if empty.
    `backend` is "embedded", the engine in this process, or "triton", the engine in a Triton server
    that listens for gRPC on `triton`, "HOST:PORT", with the same models and the same settings. With
    `shared_memory` tensors reach Triton through /dev/shm, which both must share. Every
    `probe_seconds` a real inference proves that Triton works; it may take `probe_timeout_seconds`.
    The others are explained in `generator.engine.settings`.
    """

    models_folder: Path = _NANO
    models: tuple[str, ...] = ()
    device: str = "auto"
    dtype: str = "float32"
    threads: int = 0
    max_batch: int = 64
    max_queue: int = 256
    max_wait_seconds: float = 0.01
    deterministic_rows: int = 16
    decode_batch: int = 8
    max_variants: int = 2
    backend: str = "embedded"
    triton: str = "127.0.0.1:8001"
    shared_memory: bool = False
    probe_seconds: float = 5.0
    probe_timeout_seconds: float = 30.0

    def engine(self) -> EngineSettings:
        """Returns how the engine runs."""
        names = [field.name for field in fields(EngineSettings)]
        return EngineSettings(**{name: getattr(self, name) for name in names})
