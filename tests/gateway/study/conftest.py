"""A realistic finished study on the shipped demo photographs; only its accuracies are drawn."""

import hashlib
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gateway.export.results import DatasetSummary
from gateway.study import Arm, AugmentationRecord, RunRecord, StudySpec
from servicekit.storage import MemoryStore, ObjectStore, to_uri

DEMO = Path(__file__).parents[3] / "models" / "nano" / "demo"
SEEDS = (0, 1, 2)
GAINS = {
    "simple": 0.011,
    "clip_templates": 0.014,
    "contextual": 0.004,
    "mvc": 0.034,
    "cond_embed_cutmix_dropout": 0.021,
    "retrieval": 0.052,
}


@dataclass
class Sample:
    store: ObjectStore
    dataset_uri: str
    spec: StudySpec
    records: list[RunRecord]
    augmentations: list[AugmentationRecord]

    @property
    def dataset_uris(self):
        return dict.fromkeys(SEEDS, self.dataset_uri)


def put_image(store, data, ending):
    digest = hashlib.sha256(data).hexdigest()
    key = f"images/{digest[:2]}/{digest}.{ending}"
    store.put(key, data)
    return to_uri(key), digest


def put_table(store, key, rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.put(key, buffer.getvalue())
    return to_uri(key)


def dataset_rows(store):
    rows = []
    for photo in pq.read_table(DEMO / "target.parquet").to_pylist():
        uri, digest = put_image(store, photo["image"]["bytes"], "jpg")
        rows.append(
            {
                "item_id": digest[:32],
                "image_uri": uri,
                "label": photo["label"],
                "split": "train",
                "class_name": photo["class_name"],
                "sha256": digest,
                "width": 32,
                "height": 32,
                "source": "demo",
            }
        )
    return rows


def child(store, rng, method, parents, pool, number):
    """An image of the store as a method would have made it, with its manifest row."""
    retrieved = method == "retrieval"
    if retrieved:
        found = rng.choice(pool)
        data, prompt, parents = found["image"]["bytes"], f"A photo of {found['class_name']}.", []
    else:
        first, second = (
            Image.open(io.BytesIO(store.get(row["image_uri"][6:]))).convert("RGB")
            for row in parents
        )
        buffer = io.BytesIO()
        Image.blend(first, second, rng.random()).save(buffer, "PNG")
        data, prompt = buffer.getvalue(), rng.choice(pool)["caption"]
    uri, digest = put_image(store, data, "jpg" if retrieved else "png")
    like = rng.choice(pool)
    record = {
        "parameters": {"coarse_steps": 2, "fine_steps": 8},
        "captions": [rng.choice(pool)["caption"] for _ in range(3)],
        "mixing": [{"kind": "coarse", "caption": 1, "rows": [4, 19]}],
        "parents_sha256": [row["sha256"] for row in parents],
    }
    return {
        "item_id": hashlib.sha256(f"{method}{number}".encode()).hexdigest()[:32],
        "image_uri": uri,
        "sha256": digest,
        "label": like["label"],
        "class_name": like["class_name"],
        "method": method,
        "source": "retrieved" if retrieved else "generated",
        "parents": [row["item_id"] for row in parents],
        "prompt": prompt,
        "seed": rng.getrandbits(63),
        "model": "pix2pix",
        "model_digest": "5f" * 32,
        "steps": 20,
        "guidance_scale": 3.0,
        "clip_score": rng.random(),
        "unsafe_score": 0.01,
        "attempt": 0,
        "lineage": json.dumps(record),
    }


def augmentation(store, rng, method, seed, rows, pool_rows):
    children, rejected, number = [], [], 0
    for name in sorted({row["class_name"] for row in rows}):
        of_class = [row for row in rows if row["class_name"] == name]
        pool = [row for row in pool_rows if row["class_name"] == name]
        for _ in range(4):
            number += 1
            children.append(child(store, rng, method, rng.sample(of_class, 2), pool, number))
    for made in rng.sample(children, 7):
        reason = rng.choice(["NEAR_DUPLICATE", "UNSAFE", "LOW_CLIP_SCORE"])
        message = f"distance 3 to image {made['sha256'][:8]}, at least 6 is wanted"
        rejected.append({**made, "reason": reason, "message": message})
    reasons = [row["reason"] for row in rejected]
    name = f"datasets/demo/augmentations/{method.replace('_', '-')}-{seed}"
    seconds = {"caption": 4.0, "encode": 0.8, "generate": 31.5, "filter": 3.1}
    if method == "retrieval":
        seconds = {"embed": 6.0, "search": 0.3, "filter": 2.2}
    return AugmentationRecord(
        arm=Arm(method, "combined"),
        seed=seed,
        name=name,
        manifest_uri=put_table(store, f"{name}/manifest.parquet", children),
        rejected_uri=put_table(store, f"{name}/rejected.parquet", rejected),
        accepted_count=len(children),
        rejected_count=len(rejected),
        rejected_reasons={reason: reasons.count(reason) for reason in set(reasons)},
        seconds=seconds,
    )


def run(rng, arm, seed, gain, classes, shift):
    gain += rng.gauss(0, 0.008)
    accuracies = {
        name: min(1.0, max(0.0, 0.33 + 0.02 * at + gain + shift[name] + rng.gauss(0, 0.035)))
        for at, name in enumerate(classes)
    }
    return RunRecord(
        arm=arm,
        seed=seed,
        accuracy=sum(accuracies.values()) / len(classes),
        class_accuracies=accuracies,
        real_image_count=500,
        added_image_count=0 if arm.method == "baseline" else 1000,
        test_image_count=1000,
        seconds=9.4 + rng.random(),
    )


def build_sample():
    rng = random.Random(7)
    store = MemoryStore()
    rows = dataset_rows(store)
    pool = pq.read_table(DEMO / "pool.parquet").to_pylist()
    by_label = {row["label"]: row["class_name"] for row in rows}
    classes = tuple(by_label[label] for label in sorted(by_label))
    arms = tuple(Arm(method, "combined") for method in GAINS)
    gains = [(Arm("baseline", "real"), 0.0), (Arm("oracle", "combined"), 0.09)]
    gains += [(arm, GAINS[arm.method]) for arm in arms]
    records = []
    for arm, gain in gains:
        plain = arm.method == "baseline"
        shift = {name: 0.0 if plain else rng.gauss(0, 0.035) for name in classes}
        records += [run(rng, arm, seed, gain, classes, shift) for seed in SEEDS]
    spec = StudySpec(
        name="demo",
        dataset=DatasetSummary(
            name="datasets/demo",
            digest="ab" * 32,
            class_names=classes,
            train_counts=(50,) * 10,
            test_counts=(100,) * 10,
        ),
        images_per_class=100,
        seeds=SEEDS,
        arms=arms,
        training={"policy": "standard", "classifier": "cnn4", "step_count": 600},
    )
    augmentations = [augmentation(store, rng, arm.method, 0, rows, pool) for arm in arms]
    return Sample(
        store, put_table(store, "datasets/demo/m.parquet", rows), spec, records, augmentations
    )


@pytest.fixture(scope="session")
def sample():
    return build_sample()
