"""Trains the nano family: `python -m models.nano.recipe --photos DIR`."""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from models.nano.recipe import demo, photos
from models.nano.recipe.settings import BUDGETS, NANO, Workshop, workshop
from servicekit.children import python_command, python_environment

# What each stage needs. A stage is the module of that name, with a `train` function.
STAGES: dict[str, tuple[str, ...]] = {
    "clip": (),
    "vae": ("clip",),
    "text": ("vae", "clip"),
    "clip_image": ("clip",),
    "image_encoder": ("clip_image",),
    "captioner": ("image_encoder",),
    "judge": (),
    "unclip": ("text", "image_encoder"),
    "pix2pix": ("text",),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the stages that are not done yet; returns the exit status."""
    options = _parser().parse_args(arguments)
    home = workshop()
    if options.stage:
        return _run_here(home, options)
    chosen = options.only.split(",") if options.only else list(STAGES)
    unknown = [name for name in chosen if name not in STAGES]
    if unknown:
        print(
            f"--only {options.only}: unknown {unknown}; known: {', '.join(STAGES)}", file=sys.stderr
        )
        return 2
    try:
        photos.read(options.photos, "test")
    except photos.PhotosMissing as error:
        print(error, file=sys.stderr)
        return 2
    minutes = _minutes(home, options, chosen)
    waiting = [name for name in chosen if not _done(home, name).is_file()]
    if not options.resume:
        for name in waiting:
            home.checkpoint(name).unlink(missing_ok=True)
    if not (NANO / "demo" / "pool.parquet").is_file():
        demo.write(NANO / "demo", options.photos)
    lanes = 1 if home.device.type == "cuda" else min(2, torch.get_num_threads())
    return _schedule(
        home, waiting, {name: minutes[name] for name in waiting}, options.photos, lanes
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.nano.recipe", description=__doc__)
    parser.add_argument(
        "--photos",
        type=Path,
        required=True,
        help="folder with CIFAR-10 as train.parquet and test.parquet",
    )
    parser.add_argument("--only", help=f"comma-separated stages of: {', '.join(STAGES)}")
    parser.add_argument("--minutes", type=float, help="minutes of all chosen stages together")
    parser.add_argument(
        "--budget", choices=sorted(BUDGETS), help="default: gpu with CUDA, else cpu"
    )
    parser.add_argument("--resume", action="store_true", help="continue unfinished stages")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    return parser


def _minutes(home: Workshop, options: argparse.Namespace, chosen: list[str]) -> dict[str, float]:
    budget = BUDGETS[options.budget or ("gpu" if home.device.type == "cuda" else "cpu")]
    factor = 1.0
    if options.minutes is not None:
        factor = options.minutes / sum(budget[name] for name in chosen)
    return {name: budget[name] * factor for name in chosen}


def _done(home: Workshop, stage: str) -> Path:
    return home.work / f"{stage}.done.json"


def _schedule(
    home: Workshop, waiting: list[str], minutes: dict[str, float], folder: Path, lanes: int
) -> int:
    """Runs stages as processes, `lanes` at a time, each as soon as what it needs is done.

    Two single-thread stages side by side do more in all than one stage on two threads.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    pending = list(waiting)
    while pending or running:
        for name in list(pending):
            blocked = any(need in pending or need in running for need in STAGES[name])
            if len(running) < lanes and not blocked:
                pending.remove(name)
                running[name] = _start(name, minutes[name], folder, 1 if lanes > 1 else None)
        for name, process in list(running.items()):
            status = process.poll()
            if status is None:
                continue
            del running[name]
            if status:
                print(f"stage {name} failed with status {status}", file=sys.stderr)
                for other in running.values():
                    other.terminate()
                return 1
        time.sleep(0.2)
    return 0


def _start(
    stage: str, minutes: float, folder: Path, threads: int | None
) -> "subprocess.Popen[bytes]":
    command = [*python_command("models.nano.recipe", "--photos", str(folder))]
    command += ["--stage", stage, "--minutes", str(minutes)]
    limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return subprocess.Popen(command, env=python_environment(os.environ | limit))


def _run_here(home: Workshop, options: argparse.Namespace) -> int:
    """Trains one stage in this process and notes what it took."""
    module = importlib.import_module(f"models.nano.recipe.{options.stage}")
    trace = module.train(home, photos.pool(options.photos), options.minutes)
    note = asdict(trace) | {"device": home.device.type, "torch": torch.__version__}
    _done(home, options.stage).write_text(json.dumps(note, indent=2) + "\n")
    record = NANO / "training.json"
    notes = json.loads(record.read_text()) if record.is_file() else {}
    notes[options.stage] = note
    record.write_text(json.dumps(notes, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
