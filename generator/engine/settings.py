"""How the engine runs."""

from dataclasses import dataclass

_COUNTS = ("max_batch", "max_queue", "deterministic_rows", "decode_batch", "max_variants")


@dataclass(frozen=True)
class EngineSettings:
    """How the engine runs.

    `device` is "cpu", "cuda" or "auto". `dtype` is "float32", "bfloat16" or "float16"; only
    float32 keeps the promise that images agree within 2/255 whatever the batch. `threads` of 0
    leaves torch's own choice. `max_batch` items share a U-Net call; `max_queue` may wait. A first
    item waits `max_wait_seconds` for company. Deterministic U-Net calls have `deterministic_rows`
    rows, whatever is asked for; a guided item takes two of them. `max_variants` fine-tuned
    U-Nets are kept on the device.
    """

    device: str = "auto"
    dtype: str = "float32"
    threads: int = 0
    max_batch: int = 64
    max_queue: int = 256
    max_wait_seconds: float = 0.01
    deterministic_rows: int = 16
    decode_batch: int = 8
    max_variants: int = 2

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype is {self.dtype!r}; use float32, bfloat16 or float16")

    def signature(self, *, deterministic: bool) -> str:
        """Returns what of the settings decides over an image's bits."""
        rows = f"/{self.deterministic_rows} rows" if deterministic else ""
        decoded = f"/{self.decode_batch} decoded" if deterministic else ""
        return f"{self.dtype}{rows}{decoded}"
