"""Measures one shape: the engine, its parts, and diffusers' pipeline."""

import gc
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parts import decode_seconds, step_seconds
from benchmarks.gpu.shapes import Shape, save
from benchmarks.gpu.work import decoder_flops, seconds, unet_flops
from diffusion.errors import BrokenImage
from diffusion.registry import Registry, scan
from generator.engine.engine import Engine
from generator.engine.items import Item
from generator.engine.model import LoadedModel
from generator.engine.settings import EngineSettings

GUIDANCE = 5.0
_PROMPT = "a dog on a meadow"
_TURNS = 2


@dataclass(frozen=True)
class _Bench:
    shape: Shape
    registry: Registry
    settings: EngineSettings
    device: torch.device


def measure_shape(
    shape: Shape, device: torch.device, dtype: torch.dtype, rate: float
) -> dict[str, Any]:
    """Returns the figures of a shape; `rate` is that of matrix products, operations a second."""
    with tempfile.TemporaryDirectory() as folder:
        save(shape, Path(folder) / shape.name, dtype)
        settings = EngineSettings(
            device=device.type,
            dtype=str(dtype).removeprefix("torch."),
            max_batch=shape.batch_sizes[-1],
            max_queue=1024,
            max_wait_seconds=0.05,
        )
        bench = _Bench(shape, scan(Path(folder)), settings, device)
        figures = _engine_figures(bench, rate)
        _free(device)
        figures |= _model_figures(bench)
        _free(device)
    best = figures["images_per_second"]
    figures["against_pipeline"] = best / figures["pipeline_images_per_second"]
    figures["against_compiled_pipeline"] = best / figures["compiled_images_per_second"]
    return figures


def _engine_figures(bench: _Bench, rate: float) -> dict[str, Any]:
    shape = bench.shape
    # Guidance takes two rows of the U-Net a step; PNDM makes one step more than it is asked for.
    steps = shape.steps if shape.is_xl else shape.steps + 1
    operations = 2 * steps * unet_flops(shape) + decoder_flops(shape)
    engine = Engine(bench.registry, bench.settings)
    try:
        sizes = {size: _engine_rate(bench, engine, size) for size in shape.batch_sizes}
        mixed = _mixed_steps(bench, engine)
    finally:
        engine.close()
    figures: dict[str, Any] = {"images_per_second": max(sizes.values())}
    for size, images in sizes.items():
        figures[f"images_per_second_{size}"] = images
        figures[f"share_of_matrix_rate_{size}"] = images * operations / rate
    return {**figures, "teraflop_an_image": operations / 1e12, **mixed}


def _model_figures(bench: _Bench) -> dict[str, Any]:
    shape = bench.shape
    model = LoadedModel(bench.registry.card(shape.name), bench.settings)
    most = shape.batch_sizes[-1]
    items = [item(shape, seed, shape.steps) for seed in range(most)]
    with torch.inference_mode():
        whole, loop = step_seconds(model, items)
        decoding, all_of_it = decode_seconds(model, items)
    figures = {
        "host_milliseconds_a_step": 1000 * whole,
        "host_milliseconds_a_step_without_unet": 1000 * loop,
        "decode_share": decoding / all_of_it,
        "pipeline_images_per_second": _pipeline_rate(bench, model.pipeline),
    }
    # On a CPU only the way to it is tried: compiling takes longer than all the rest.
    is_tried = bench.device.type != "cuda"
    model.pipeline.unet = torch.compile(model.pipeline.unet, disable=is_tried)
    return {**figures, "compiled_images_per_second": _pipeline_rate(bench, model.pipeline)}


def item(shape: Shape, seed: int, steps: int) -> Item:
    """Returns a guided image of the shape's model."""
    return Item(shape.name, seed, steps, GUIDANCE, text=_PROMPT, negative="fog")


def _engine_rate(bench: _Bench, engine: Engine, size: int) -> float:
    """Returns the images a second of batches of a size."""
    items = [item(bench.shape, seed, bench.shape.steps) for seed in range(size)]
    _make(engine, items[:1])  # What is set up once is not measured.
    _make(engine, items)
    return size / min(seconds(bench.device, lambda: _make(engine, items)) for _ in range(_TURNS))


def _mixed_steps(bench: _Bench, engine: Engine) -> dict[str, float]:
    """Compares newcomers at every step with batches that begin and end together."""
    size, steps = bench.shape.batch_sizes[-1], bench.shape.steps
    counts = [max(1, steps // 2 + seed % (steps + 1)) for seed in range(3 * size)]
    items = [item(bench.shape, seed, count) for seed, count in enumerate(counts)]

    def in_batches() -> None:
        for start in range(0, len(items), size):
            _make(engine, items[start : start + size])

    together = seconds(bench.device, lambda: _make(engine, items))
    apart = seconds(bench.device, in_batches)
    return {
        "mixed_steps_images_per_second": len(items) / together,
        "mixed_steps_against_static_batches": apart / together,
    }


def _make(engine: Engine, items: Sequence[Item]) -> None:
    for future in engine.submit_all(items):
        error = future.exception()
        # Random weights may make no picture; the work was done all the same.
        if error is not None and not isinstance(error, BrokenImage):
            raise error


def _pipeline_rate(bench: _Bench, pipeline: Any) -> float:
    """Returns the images a second of diffusers' pipeline at its best batch size."""
    pipeline.set_progress_bar_config(disable=True)
    return max(_pipeline_rate_at(bench, pipeline, size) for size in bench.shape.batch_sizes)


def _pipeline_rate_at(bench: _Bench, pipeline: Any, size: int) -> float:
    def make() -> None:
        pipeline(
            prompt=[_PROMPT] * size,
            negative_prompt=["fog"] * size,
            num_inference_steps=bench.shape.steps,
            guidance_scale=GUIDANCE,
            output_type="np",
        )

    make()
    return size / min(seconds(bench.device, make) for _ in range(_TURNS))


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
