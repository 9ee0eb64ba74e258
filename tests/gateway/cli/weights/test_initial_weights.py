"""Weights of a hub that training starts from, with the real huggingface_hub."""

import json

import pytest
from huggingface_hub import constants

from servicekit.storage import DirectoryStore
from tests.gateway.cli.weights.hub import COMMIT, safetensors

CONFIG = {"architecture": "test_vit", "pretrained_cfg": {"tag": "r160_in1k"}}
CLASSIFIER, SOURCE = "timm:test_vit.r160_in1k", f"hub:timm/test_vit@{COMMIT}"


@pytest.fixture
def train(variegate, photos, gateway, made, asked_hub, monkeypatch, tmp_path):
    """Runs `train` from weights of the hub, which has one model of timm and one without weights."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    files = {"config.json": json.dumps(CONFIG).encode(), "pytorch_model.bin": b"PK pickled"}
    asked_hub.models["own/pickled"] = dict(files)
    asked_hub.models["timm/test_vit"] = files | {"model.safetensors": safetensors(5000)}
    command = ["train", photos, "--test", photos, "--trainer", gateway.target, *made]
    return lambda source, *more, classifier=CLASSIFIER: variegate(
        *command, "--seeds", 1, "--classifier", classifier, "--weights", source, *more
    )


def test_they_come_once_and_go_into_the_store(train, gateway, asked_hub, monkeypatch, tmp_path):
    for _ in range(2):
        answer = train(SOURCE, "--freeze")
        assert answer.code == 0, answer.err
        run = gateway.requests[-1].training_run
        key = run.initial_weights_uri.removeprefix("store:")
        assert DirectoryStore(tmp_path / "objects").get(key) == safetensors(5000)
        # Without a network the second run has what the first one left.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert sorted(name for name, _ in asked_hub.reads) == ["config.json", "model.safetensors"]
    answer = train(SOURCE, classifier="timm:test_vit")
    assert answer.code == 2 and f"The weights are of {CLASSIFIER}, and" in answer.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hub:timm/test_vit", "hub:OWNER/NAME@REVISION; the revision is best a commit"),
        ("hub:timm/test_vit@v7", "timm/test_vit has no revision v7"),
        ("hub:timm/gone@main", "refuses access to timm/gone (401): correct its name"),
        ("hub:own/pickled@main", "has no *.safetensors among the wanted files"),
        ("hub:../..@main", "../..: Repo id must use"),
    ],
)
def test_what_a_hub_does_not_have_is_told_before_anything_starts(train, gateway, source, said):
    before = len(gateway.requests)
    answer = train(source)
    assert answer.code != 0 and said in " ".join(answer.err.split())
    assert len(gateway.requests) == before


def test_without_a_network_the_hub_is_not_asked(train, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in train(SOURCE).err
