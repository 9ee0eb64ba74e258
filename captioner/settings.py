"""Settings of the captioner."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CaptionerSettings:
    """CAPTIONER_MODEL and so on.

    `model` is a folder or a hub id (then `revision` pins it); `name` is what captions call it, by
    default the folder's name. `max_tokens` is used where a request leaves it open. A lone request
    waits `max_wait_ms` for company; beyond `max_queue` waiting requests new ones are refused.
    `stream_window` images of one stream are worked on at a time.
    """

    model: Path = Path("models/nano/captioner")
    name: str = ""
    revision: str = ""
    device: str = "cpu"
    max_tokens: int = 24
    max_batch: int = 16
    max_wait_ms: float = 8.0
    max_queue: int = 256
    stream_window: int = 32
