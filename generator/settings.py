"""Settings of the generator process, each from GENERATOR_... in the environment."""

from dataclasses import dataclass
from pathlib import Path

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "diffusion"


@dataclass(frozen=True)
class GeneratorSettings:
    """Which models are served, and how.

    `models_folder` holds a diffusers folder per model; `models` names those to serve, all if empty.
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
