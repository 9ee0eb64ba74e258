"""Real studies of what cannot be, or hardly: reported in a sentence, and the others go on."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

SMALL = """\
per_class: 2
seeds: 1
classifiers: cnn4
training: {steps: 2, batch_size: 4, image_size: 32}
"""


@pytest.fixture
def odd(data, tmp_path):
    """Two classes of three images and one, which no dictionary has; all test images.

    It lies below the folder that the system may import from.
    """
    root = data / tmp_path.name
    for split, counts in (("train", {"dog": 3, "zqxvw": 1}), ("test", {"dog": 2, "zqxvw": 2})):
        for name, count in counts.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                source = data / split / "dog" / f"{number}.png"
                if name == "zqxvw":
                    source = data / split / "ship" / f"{number}.png"
                shutil.copy(source, root / split / name / f"{number}.png")
    return root


def write_study(tmp_path, text):
    file = tmp_path / "study.yaml"
    file.write_text(text + SMALL)
    return file


def places(odd):
    return "--data", odd / "train", "--test", odd / "test"


@pytest.mark.timeout(600)
def test_a_class_without_a_dictionary_and_of_one_image_and_a_search_that_finds_nothing(
    variegate, odd, tmp_path
):
    # A pool of the training images themselves: all of what is found is a copy.
    found = sorted((odd / "train").rglob("*.png"))
    rows = [{"image": {"bytes": f.read_bytes(), "path": f.name}, "caption": "a dog"} for f in found]
    pq.write_table(pa.Table.from_pylist(rows), odd / "pool.parquet")
    methods = "methods: [simple, sariyildiz, mvc, cond_mixup, retrieval]\nstrategies: rsp\n"
    code, results, said = variegate(
        "study", write_study(tmp_path, methods), *places(odd), "--pool", odd / "pool.parquet",
        "--out", tmp_path / "out", "--yes",
    )  # fmt: skip
    assert code == 5, said
    rows = {row["method"]: row for row in results["rows"]}
    failed = {one["label"]: one["message"] for one in results["failures"]}
    for method in ("simple", "sariyildiz", "mvc", "cond_mixup"):
        assert rows[method]["added_image_count"] == 4, rows[method]
    told = rows["retrieval"]["shortfalls"] if "retrieval" in rows else [*failed.values()]
    assert len(told) >= 1 and all(text for text in told)
    assert rows.get("retrieval", {"added_image_count": 0})["added_image_count"] == 0


def test_more_shots_than_a_class_has_are_refused_with_its_name(variegate, odd, tmp_path):
    file = write_study(tmp_path, "methods: simple\nprotocol: {shots: 3}\n")
    code, document, said = variegate("study", file, *places(odd), "--plan")
    assert code == 2 and "'zqxvw' has 1 training images" in json.dumps(document) + said


def test_a_strategy_is_left_out_with_the_classifier_that_cannot_have_it(variegate, odd, tmp_path):
    text = "methods: simple\nstrategies: [combined, aux_bn]\n" + SMALL
    text = text.replace("cnn4", "[cnn4, vit_b_16]").replace("image_size: 32", "image_size: 224")
    (tmp_path / "study.yaml").write_text(text)
    code, plan, said = variegate("study", tmp_path / "study.yaml", *places(odd), "--plan")
    assert code == 0, said
    [[label, why]] = plan["left_out"].items()
    assert label == "simple (aux_bn, vit_b_16)" and "batch norm, which 'vit_b_16' lacks" in why
    assert plan["cell_count"] == 5


@pytest.mark.timeout(600)
def test_weights_of_another_network_end_the_study_with_a_sentence(variegate, odd, tmp_path):
    save_file({"head.weight": np.zeros((2, 3), np.float32)}, tmp_path / "other.safetensors")
    text = SMALL.replace("{steps", "{weights: other.safetensors, steps")
    (tmp_path / "study.yaml").write_text("methods: simple\n" + text)
    code, document, said = variegate(
        "study", tmp_path / "study.yaml", *places(odd), "--out", tmp_path / "out", "--yes"
    )
    told = json.dumps(document) + said
    assert code not in (0, 5) and "No row of the study came to a result" in told
    assert "weights" in told and "Traceback" not in told
