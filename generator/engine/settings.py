"""How the engine runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servicekit.devices import DEVICES, MEANING, find_device
from servicekit.settings import setting

if TYPE_CHECKING:
    from diffusion.placement import Placement


@dataclass(frozen=True)
class EngineSettings:
    """How the engine runs. Each is GENERATOR_... in the environment."""

    device: str = setting("auto", MEANING, limits=DEVICES)
    dtype: str = setting(
        "float32",
        "Numbers of the models. Only float32 keeps the promise that images agree within 2/255 "
        "whatever the batch.",
        choices=("float32", "bfloat16", "float16"),
    )
    threads: int = setting(0, "Processor threads; 0 leaves torch's own number.", least=0)
    max_batch: int = setting(64, "Most images that share a U-Net call.", least=1)
    max_queue: int = setting(256, "Most images that wait; more are refused.", least=1)
    max_wait_seconds: float = setting(
        0.01, "Longest that a first image waits for company.", least=0
    )
    deterministic_rows: int = setting(
        16,
        "Rows of every deterministic U-Net call, whatever is asked for; a guided image takes two.",
        least=1,
    )
    decode_batch: int = setting(8, "Images that are decoded in one call.", least=1)
    max_unets: int = setting(
        2,
        "U-Nets with artefacts in them that are kept on the device, beside the models' own.",
        least=1,
    )
    probe_timeout_seconds: float = setting(
        30.0, "How long the image may take that proves that images can be made.", least=0.001
    )

    def placement(self) -> "Placement":
        """Returns where and in what numbers models run. Raises for a device that is not there."""
        import torch

        from diffusion.placement import Placement

        device = find_device(self.device, "GENERATOR_DEVICE")
        return Placement(device, getattr(torch, self.dtype))

    def signature(self, *, deterministic: bool) -> str:
        """Returns what of the settings decides over an image's bits."""
        rows = f"/{self.deterministic_rows} rows" if deterministic else ""
        decoded = f"/{self.decode_batch} decoded" if deterministic else ""
        latents = "" if self.dtype == "float32" else "/float32 latents"
        return f"{self.dtype}{latents}{rows}{decoded}"
