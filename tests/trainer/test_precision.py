"""What classifiers compute in, and what of them stays float32."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.test_training import interrupt_at, plain_torch, run  # noqa: F401
from trainer.jobs.classify import WEIGHTS
from trainer.precision import autocast, resolved


def test_a_run_in_bfloat16_learns_and_keeps_float32_weights(spec):
    exact, _ = run(spec)
    spec = replace(spec, precision="bfloat16", strategy="aux_bn", policy="mixup")
    rough, _ = run(spec)
    assert rough.accuracy > 0.6 and rough.final_loss != exact.final_loss
    kept = load_file(Path(spec.folder) / WEIGHTS)
    assert {one.dtype for one in kept.values() if one.is_floating_point()} == {torch.float32}
    assert spec.card()["recipe"]["precision"] == "bfloat16"


def test_layers_compute_in_bfloat16_where_it_was_asked_for():
    images, layer = torch.rand(2, 3, 8, 8), torch.nn.Conv2d(3, 4, 3)
    for precision, expected in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        with autocast(precision, torch.device("cpu")):
            assert layer(images).dtype == expected


def test_an_interrupted_run_in_bfloat16_ends_as_an_undisturbed_one(spec):
    spec = replace(spec, precision="bfloat16", step_count=10)
    undisturbed = run(spec)
    interrupt_at(spec, 6)
    assert run(spec) == undisturbed


def test_a_checkpoint_of_another_precision_is_not_gone_on_with(spec):
    assert spec.digest() != replace(spec, precision="bfloat16").digest()


@pytest.mark.parametrize(
    ("precision", "device", "has_it", "expected"),
    [
        ("auto", "cpu", True, "float32"),
        ("auto", "cuda", True, "bfloat16"),
        ("auto", "cuda:1", False, "float32"),
        ("float32", "cuda", True, "float32"),
        ("bfloat16", "cpu", False, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_on_a_gpu_that_has_it(precision, device, has_it, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    assert resolved(precision, device) == expected
