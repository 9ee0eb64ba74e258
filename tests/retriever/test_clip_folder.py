"""Folders that are no open_clip model of safetensors stop the service with a sentence."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from servicekit.errors import Precondition
from servicekit.storage import MemoryStore
from tests.retriever.conftest import SETTINGS, serving

WEIGHTS = "open_clip_model.safetensors"


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def rename(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "open_clip_config.json is missing; point RETRIEVER_CLIP at"),
        (rename, f"{WEIGHTS} is missing"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes(pickle.dumps({"logit_scale": 1.0})),
            "convert it if it is a pickle, which is never loaded",
        ),
        (cut, "is not a whole safetensors file .*; get it again"),
    ],
    ids=["nothing", "only a pickle", "a pickle by another name", "cut off"],
)
async def test_what_is_no_model_is_told(tmp_path, spoil, words):
    folder = tmp_path / "clip"
    shutil.copytree(SETTINGS.clip, folder)
    spoil(folder)
    with pytest.raises(Precondition, match=words) as caught:
        async with serving(MemoryStore(), replace(SETTINGS, clip=folder)):
            pass
    assert str(folder) in caught.value.message
