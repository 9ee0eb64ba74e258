"""Settings of the trainer, read from TRAINER_... environment variables."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir


@dataclass(frozen=True)
class TrainerSettings:
    """`scratch` is a local folder for decoded images and checkpoints; it may be lost at any time.

    At most `max_runs` runs train at once, each with `threads` threads (0: as many as the processor
    cores it may use); the others wait. A checkpoint is written every `checkpoint_seconds`. Decoded
    images are kept up to `cache_gigabytes`, those of runs that train or wait for sure; a run that
    needs more than that is refused, and one that needs more than is left waits. A worker process
    with nothing to do for `idle_seconds` ends, which frees its memory.
    """

    scratch: Path = Path(gettempdir()) / "variegate-trainer"
    max_runs: int = 1
    threads: int = 0
    checkpoint_seconds: float = 15.0
    cache_gigabytes: float = 20.0
    idle_seconds: float = 300.0

    @property
    def cache_bytes(self) -> int:
        """`cache_gigabytes` in bytes."""
        return int(self.cache_gigabytes * 1e9)
