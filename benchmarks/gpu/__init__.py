"""Diffusion on a GPU: the engine on Stable Diffusion 1.5 and XL, with random weights.

    python -m benchmarks gpu
    python -m benchmarks.gpu [--device cpu --tiny]

For each shape: images a second at each batch size, and which share of the measured rate of matrix
products that is of the floating point operations that the model takes; the same of diffusers' own
pipeline, plain and compiled; what the host spends on a step; which share of the time is decoding;
and mixed numbers of steps, with newcomers at every step against batches that begin together.

The ratio is the engine's images a second over those of the plain pipeline, both at their best batch
size, for the shape where it is least. It has no bar until somebody has measured one. On a CPU
nothing is compiled.
"""

from typing import Any

from models.torchvision_cpu import declare_missing_operators
from servicekit.errors import Precondition

# Pipelines import torchvision if it is installed, and it must find its operators.
declare_missing_operators()


def measure(device: str = "cuda", *, tiny: bool = False) -> dict[str, Any]:
    """Returns the ratio and the figures of all shapes. Raises Precondition without the device."""
    import torch

    from benchmarks.gpu.measuring import measure_shape
    from benchmarks.gpu.shapes import STABLE_DIFFUSION, STABLE_DIFFUSION_XL, TINY
    from benchmarks.gpu.work import matrix_rate

    if device == "cuda" and not torch.cuda.is_available():
        raise Precondition(
            "there is no CUDA GPU here; run it on a machine with one, or see that it runs at all "
            "with `python -m benchmarks.gpu --device cpu --tiny`",
            subject="cuda",
            reason="NO_GPU",
        )
    where = torch.device(device)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rate = matrix_rate(where, dtype)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(where) if device == "cuda" else device,
        "matrix_teraflops": rate / 1e12,
    }
    ratios = []
    for shape in TINY if tiny else (STABLE_DIFFUSION, STABLE_DIFFUSION_XL):
        found = measure_shape(shape, where, dtype, rate)
        ratios.append(found["against_pipeline"])
        figures |= {f"{shape.name}_{name}": value for name, value in found.items()}
    return {"ratio": min(ratios), "required": None, **figures}
