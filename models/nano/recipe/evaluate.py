"""Measures every nano model: `python -m models.nano.recipe.evaluate --photos DIR`.

Prints a table and writes `models/nano/quality.json`; picks the guidance that each diffusion folder
ships as its default. Models of retrieval and captioning are measured on test photographs; the
diffusion modes are conditioned on target photographs; no model has learned from either.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.nano.recipe import (
    captioner,
    captions,
    clip,
    clip_image,
    diffusion,
    judge,
    metrics,
    photos,
    sampling,
)
from models.nano.recipe.photos import Photos, as_floats
from models.nano.recipe.settings import NANO
from models.nano.recipe.split import divide

GUIDANCES = (1.0, 2.0, 3.0, 4.0, 5.0)
FLOOR = 0.6  # of the class share, below which no guidance is chosen
PARTS = ("judge", "clip", "captioner", *sampling.MODES)
CLASS_KEYS = {"text": "generator_class", "pix2pix": "pix2pix_class", "unclip": "unclip_class"}
Values = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Measures the chosen parts and merges them into quality.json."""
    parser = argparse.ArgumentParser(prog="python -m models.nano.recipe.evaluate")
    parser.add_argument("--photos", type=Path, required=True, help="the folder given to the recipe")
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated parts")
    parser.add_argument("--images", type=int, default=500, help="images per diffusion mode")
    parser.add_argument("--sweep", type=int, default=200, help="images per guidance of the sweep")
    options = parser.parse_args(arguments)
    try:
        test, train = photos.read(options.photos, "test"), photos.read(options.photos, "train")
    except photos.PhotosMissing as error:
        print(error, file=sys.stderr)
        return 2
    record = NANO / "quality.json"
    for part in options.only.split(","):
        if part == "judge":
            found = of_judge(test)
        elif part == "clip":
            found = of_clip(test)
        elif part == "captioner":
            found = of_captioner(test)
        else:
            found = of_mode(part, train, test, options.images, options.sweep)
        merge(record, found)
    merge(record, provenance())
    show(json.loads(record.read_text()))
    return 0


def merge(record: Path, found: Values) -> None:
    """Updates the record: a mapping's keys join those already there."""
    values: Values = json.loads(record.read_text()) if record.is_file() else {}
    for key, value in found.items():
        both = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | value if both else value
    record.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def provenance() -> Values:
    """What the figures belong to: read from training.json, which the recipe writes."""
    notes: Values = json.loads((NANO / "training.json").read_text())
    return {
        "trained_on": sorted({note["device"] for note in notes.values()}),
        "torch_version": torch.__version__,
        "minutes": {stage: note["minutes"] for stage, note in notes.items()},
        "samples": {stage: note["samples"] for stage, note in notes.items()},
    }


@torch.inference_mode()
def of_judge(test: Photos) -> Values:
    """Accuracy on the test photographs."""
    referee = judge.load(NANO)
    right = (
        torch.cat([referee(as_floats(c)).argmax(1) for c in test.images.split(500)]) == test.labels
    )
    return {"judge_accuracy": share(right)}


@torch.inference_mode()
def of_clip(test: Photos) -> Values:
    """Zero-shot accuracy and precision of text-to-image retrieval, both on test photographs."""
    model, _ = clip.load(NANO)
    prompts = clip_image.class_prompts(model, test.names, torch.device("cpu"))
    parts = [model.visual(clip.enlarge(as_floats(chunk))) for chunk in test.images.split(500)]
    images = torch.nn.functional.normalize(torch.cat(parts), dim=-1)
    scores = images @ prompts.T
    top = scores.topk(10, dim=0).indices.T  # [classes, 10]
    precise = test.labels[top] == torch.arange(len(prompts))[:, None]
    return {
        "clip_zero_shot": share(scores.argmax(1) == test.labels),
        "clip_precision_at_10": share(precise),
    }


@torch.inference_mode()
def of_captioner(test: Photos, count: int = 1000) -> Values:
    """Share of free captions that name the class, and that name the colour of the rule."""
    model, _ = captioner.load(NANO)
    words = captioner.text_tokenizer()
    rows = spread_rows(test, count)
    named, coloured = [], []
    for chunk in rows.split(200):
        ids = model.generate(pixel_values=as_floats(test.images[chunk]), max_new_tokens=24)
        texts = words.batch_decode(ids, skip_special_tokens=True)
        looks = captions.look(test.images[chunk])
        for text, label, look in zip(texts, test.labels[chunk], looks, strict=True):
            name, colour = test.names[int(label)], captions.COLOURS[int(look[0])]
            named.append(name in text)
            coloured.append(f" {colour} " in text.split(" on ")[0] + " ")
    return {
        "caption_class": share(torch.tensor(named)),
        "caption_colour": share(torch.tensor(coloured)),
    }


def of_mode(mode: str, train: Photos, test: Photos, count: int, sweep: int) -> Values:
    """Sweeps the guidance of one mode, ships the best, measures a larger sample with it."""
    pool_rows, target_rows = divide(train.files, train.labels.tolist())
    target, pool = train.subset(target_rows), train.subset(pool_rows)
    sampler, referee = sampling.Sampler(NANO, mode, target), judge.load(NANO)
    real = test.subset(spread_rows(test, 2000).tolist())
    features = look(referee, real.images)
    trials = {}
    for guidance in GUIDANCES:
        labels = torch.arange(sweep) % len(test.names)
        images = sampler.draw(sampling.Request(labels, guidance, seed=50_000))
        trials[f"{guidance:g}"] = rate(referee, images, labels, features)
        print(mode, guidance, trials[f"{guidance:g}"], file=sys.stderr, flush=True)
    best = float(choose(trials))
    encoder = "nano-vit-clip" if mode == "unclip" else None
    diffusion.write_defaults(NANO, mode, best, encoder)
    labels = torch.arange(count) % len(test.names)
    images = sampler.draw(sampling.Request(labels, best))
    final = rate(referee, images, labels, features)
    real_few = test.subset(spread_rows(test, count).tolist())
    return {
        CLASS_KEYS[mode]: final["class_share"],
        "guidance": {mode: best},
        "guidance_sweep": {mode: trials},
        "frechet": {
            mode: final["frechet"],
            "real_test": round(metrics.frechet(features[:count], features[count:]), 3),
        },
        "recall": {
            mode: final["recall"],
            "real_test": round(metrics.recall(features[count:], features[:count]), 3),
        },
        "diversity": {
            mode: final["diversity"],
            "real_test": round(metrics.spread(look(referee, real_few.images), real_few.labels), 3),
        },
        "nearest_training_distance": {
            mode: median(metrics.nearest(images, pool.images)),
            "real_test": median(metrics.nearest(real_few.images, pool.images)),
        },
    }


@torch.inference_mode()
def look(referee: judge.Judge, images: Tensor) -> Tensor:
    """uint8 images -> the judge's features [n, d]."""
    return torch.cat([referee.features(as_floats(chunk)) for chunk in images.split(500)])


@torch.inference_mode()
def rate(referee: judge.Judge, images: Tensor, labels: Tensor, real: Tensor) -> dict[str, float]:
    """Class share, Frechet distance, recall and diversity of one sample."""
    made = look(referee, images)
    right = referee.head(made).argmax(1) == labels
    return {
        "class_share": share(right),
        "frechet": round(metrics.frechet(made, real), 3),
        "recall": round(metrics.recall(real, made), 3),
        "diversity": round(metrics.spread(made, labels), 3),
    }


def choose(trials: dict[str, dict[str, float]]) -> str:
    """The guidance of the smallest Frechet distance among those above the floor, else the surest.

    Recall alone would rest on a few images: two sweeps chose differently by it, and alike by this.
    """
    sure = {g: trial for g, trial in trials.items() if trial["class_share"] >= FLOOR}
    if sure:
        return min(sure, key=lambda g: sure[g]["frechet"])
    return max(trials, key=lambda g: trials[g]["class_share"])


def spread_rows(photographs: Photos, count: int) -> Tensor:
    """`count` rows, the same number of each class."""
    per_class = count // len(photographs.names)
    rows = [
        (photographs.labels == c).nonzero()[:per_class, 0] for c in range(len(photographs.names))
    ]
    return torch.stack(rows, 1).flatten()


def share(right: Tensor) -> float:
    """The share of true entries, rounded."""
    return round(float(right.float().mean()), 4)


def median(values: Tensor) -> float:
    """The median, rounded."""
    return round(float(values.median()), 3)


def show(values: Values) -> None:
    """Prints the record as a table."""
    for key, value in sorted(values.items()):
        if key != "guidance_sweep":
            print(f"{key:<28}{json.dumps(value)}")


if __name__ == "__main__":
    raise SystemExit(main())
