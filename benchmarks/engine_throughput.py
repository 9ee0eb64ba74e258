"""Prints how many images a second the diffusion engine makes, by batch size.

    python benchmarks/engine_throughput.py [--models FOLDER] [--model text] [--steps 25]

An image is counted from submission to pixels: text encoding, guided denoising, decoding. On a CPU
that others use, images per CPU second is the figure to compare.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.items import Item
from generator.engine.settings import EngineSettings
from generator.settings import GeneratorSettings


def main() -> None:
    options = parse()
    engine_settings = EngineSettings(
        dtype=options.dtype, threads=options.threads, decode_batch=options.decode_batch
    )
    registry = scan(options.models, [options.model])
    print(f"{options.model}, {options.dtype}, {options.steps or 'default'} steps, ", end="")
    print(f"{options.threads or torch.get_num_threads()} threads")
    print(f"{'batch':>6} {'seconds':>8} {'images/s':>9} {'images/CPU second':>17}")
    for size in options.sizes:
        measure(Engine(registry, replace(engine_settings, max_batch=size)), size, options)


def measure(engine: Engine, size: int, options: argparse.Namespace) -> None:
    """Prints one line: the best of `rounds` full batches of `size`."""
    card = engine.card(options.model)
    item = Item(
        model=card.name,
        seed=0,
        steps=options.steps or card.default_steps,
        guidance_scale=card.default_guidance_scale,
        text="a photo of a brown dog on a green background",
        deterministic=options.deterministic,
    )
    seconds, processor = [], []
    for turn in range(options.rounds + 1):
        started, computed = time.perf_counter(), time.process_time()
        futures = engine.submit_all([replace(item, seed=turn * size + n) for n in range(size)])
        for future in futures:
            future.result()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - computed)
    engine.close()
    best, least = min(seconds[1:]), min(processor[1:])  # the first round warms up
    print(f"{size:>6} {best:>8.3f} {size / best:>9.2f} {size / least:>17.2f}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=GeneratorSettings().models_folder)
    parser.add_argument("--model", default="text")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--decode-batch", type=int, default=EngineSettings().decode_batch)
    parser.add_argument("--deterministic", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
