"""Classifiers as ONNX files, read by onnxruntime."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from trainer.classifiers.building import Normaliser, build
from trainer.classifiers.table import classifier_of, classifiers
from trainer.jobs.classify import WEIGHTS
from trainer.onnx_export import ONNX, export_onnx
from trainer.training import train

CLASSES = ("red", "green", "bl\u00fce")
# Of our own, and of timm.
QUICK = {"cnn4": 16, "timm:mobilenetv3_small_050": 64}
OTHERS = ("wrn_28_2", "resnet18", "efficientnet_b0", "vit_b_16")


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


def opened(spec):
    path = Path(spec.folder) / ONNX
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def of_torch(spec, weights, images):
    """The logits of the network as it is trained and tested, of uint8 [B, H, W, 3]."""
    row = classifier_of(spec.classifier)
    network = build(row, len(spec.class_names))
    network.load_state_dict(weights)
    with torch.inference_mode():
        return network.eval()(Normaliser(row, torch.device("cpu"))(images)).numpy()


def exports(spec, name, size):
    spec = replace(spec, classifier=name, class_names=CLASSES, image_size=size)
    torch.manual_seed(0)
    weights = build(classifier_of(name), 3).state_dict()
    images = torch.randint(0, 256, (5, size, size, 3), dtype=torch.uint8)
    assert export_onnx(spec, weights, images[:2]) == ""
    [logits] = opened(spec).run(
        None, {"images": images.permute(0, 3, 1, 2).numpy() / np.float32(255)}
    )
    np.testing.assert_allclose(logits, of_torch(spec, weights, images), rtol=1e-3, atol=1e-3)
    return opened(spec)


@pytest.mark.parametrize("name", QUICK)
def test_a_classifier_gives_the_logits_of_torch_for_pixels(spec, name):
    session = exports(spec, name, QUICK[name])
    [images], [logits] = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape[1:]) == ("images", [3, QUICK[name], QUICK[name]])
    assert (logits.name, logits.shape[1]) == ("logits", 3)
    assert isinstance(images.shape[0], str), "any number of images"
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == list(CLASSES)
    assert json.loads(facts["card"])["classifier"] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_classifier_can_be_exported(spec, name):
    exports(spec, name, max(40, classifiers()[name].smallest_image))


def test_what_a_run_leaves_is_the_network_that_was_tested(spec):
    """Also of one that had two batch norms in training."""
    spec = replace(spec, strategy="aux_bn", step_count=2, export_onnx=True)
    result = train(spec, lambda event: None)
    assert result.onnx_failure == ""
    images = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8)
    [logits] = opened(spec).run(
        None, {"images": images.permute(0, 3, 1, 2).numpy() / np.float32(255)}
    )
    weights = load_file(Path(spec.folder) / WEIGHTS)
    np.testing.assert_allclose(logits, of_torch(spec, weights, images), rtol=1e-3, atol=1e-3)


def test_to_export_a_classifier_changes_nothing_of_what_it_learns(spec):
    assert replace(spec, export_onnx=True).digest() == spec.digest()


def test_one_that_cannot_be_exported_says_why_and_leaves_nothing(spec):
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    said = export_onnx(spec, {"other": torch.zeros(1)}, images)
    assert said.startswith("'cnn4' cannot be exported to ONNX: Error(s) in loading")
    assert not (Path(spec.folder) / ONNX).exists()
