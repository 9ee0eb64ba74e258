"""Weights of a package: every tensor has its place in a network of timm, and it recognises."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from gateway.cli.weights.packaged import PACKAGED, read
from trainer.classifiers.building import Normaliser, build
from trainer.classifiers.table import classifier_of
from trainer.classifiers.weights import load_weights

# Of ImageNet's 1,000 classes those that are of one of the photographs' classes, by their numbers.
IMAGENET = {
    "airplane": [404, 895, 908],
    "frog": [30, 31, 32],
    "truck": [555, 569, 654, 656, 675, 717, 864, 867],
}


@pytest.fixture(scope="module", params=list(PACKAGED))
def packaged(request, tmp_path_factory):
    """A row of the table, its file of safetensors, and the network of ImageNet's 1,000 classes."""
    row = PACKAGED[request.param]
    file = tmp_path_factory.mktemp("packaged") / "model.safetensors"
    file.write_bytes(read(row))
    network = build(classifier_of(row.classifier), 1000).eval()
    load_weights(network, file)
    return row, file, network


def test_every_tensor_has_its_place_and_the_file_is_the_same_each_time(packaged):
    row, file, network = packaged
    tensors, own = load(file.read_bytes()), network.state_dict()
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], value) for name, value in own.items())
    assert read(row) == file.read_bytes()


@torch.inference_mode()
def test_photographs_are_recognised_among_the_classes_that_the_network_was_trained_on(
    packaged, photos
):
    row, _, network = packaged
    shares = network(_images(photos, classifier_of(row.classifier))).softmax(1)
    told = torch.stack([shares[:, numbers].sum(1) for numbers in IMAGENET.values()]).argmax(0)
    labels = torch.tensor([row["label"] for row in photos.test])
    assert (told == labels).float().mean() > 0.75  # A third is chance.


def _images(photos, classifier):
    keys = [row["image_uri"].removeprefix("store:") for row in photos.test]
    opened = [Image.open(io.BytesIO(photos.files[key])).convert("RGB") for key in keys]
    large = [one.resize((128, 128), Image.Resampling.BICUBIC) for one in opened]
    pixels = torch.from_numpy(np.stack([np.asarray(one) for one in large]))
    return Normaliser(classifier, torch.device("cpu"))(pixels)
