"""Settings of the captioner."""

from dataclasses import dataclass
from pathlib import Path

from servicekit.devices import DEVICES, MEANING
from servicekit.settings import setting

_NANO = Path(__file__).resolve().parent.parent / "models" / "nano" / "captioner"


@dataclass(frozen=True)
class CaptionerSettings:
    """Each is CAPTIONER_... in the environment."""

    model: Path = setting(
        _NANO, "Folder or hub id of a BLIP-2 with a decoder-only language model, safetensors only."
    )
    name: str = setting("", "What captions call the model; the folder's name if empty.")
    revision: str = setting("", "Pins the revision of a hub id.")
    device: str = setting("cpu", MEANING, limits=DEVICES)
    max_tokens: int = setting(
        24, "Longest continuation where a request leaves it open, in tokens.", least=1
    )
    max_batch: int = setting(16, "Most images in one call of the model.", least=1)
    max_wait_ms: float = setting(
        8.0, "Longest that a lone request waits for others to batch with, in milliseconds.", least=0
    )
    max_queue: int = setting(256, "Most requests that wait; more are refused.", least=1)
    stream_window: int = setting(32, "Images of one stream that are worked on at a time.", least=1)
