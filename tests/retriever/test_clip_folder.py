"""Folders that are no open_clip model of safetensors stop the service with a sentence."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from variegate.retriever.v1 import retriever_pb2 as pb

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


async def vectors(folder: Path, text: str = "a photo of a dog") -> list[bytes]:
    async with serving(MemoryStore(), replace(SETTINGS, clip=folder)) as client:
        request = pb.EmbedTextsRequest(texts=[text])
        answer = await client.retriever.EmbedTexts(request, timeout=30)
    return [one.data for one in answer.embeddings]


class Trap:
    """Leaves a file if it is ever unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self):
        return (Path.touch, (self.sprung,))


@pytest.mark.parametrize(
    "name",
    [
        "open_clip_pytorch_model.safetensors",
        "open_clip_model.fp16.safetensors",
        "open_clip_pytorch_model.fp16.safetensors",
    ],
)
async def test_weights_by_the_other_names_of_a_hub_clone_are_found(tmp_path, name):
    folder = tmp_path / "clip"
    shutil.copytree(SETTINGS.clip, folder)
    plain = await vectors(folder)
    (folder / WEIGHTS).rename(folder / name)
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    save_file({"weight": np.zeros(2, np.float32)}, folder / "model.safetensors")
    assert await vectors(folder) == plain
    assert not (tmp_path / "sprung").exists()


async def test_weights_of_half_precision_give_nearly_the_same_vectors(tmp_path):
    folder = tmp_path / "clip"
    shutil.copytree(SETTINGS.clip, folder)
    # The shipped ones are of half precision already; counters are integers.
    shipped = load_file(folder / WEIGHTS)
    changed = {key: value for key, value in shipped.items() if value.dtype == np.float16}
    whole = shipped | {
        key: np.asarray(1.001 * value.astype(np.float32)) for key, value in changed.items()
    }
    save_file(whole, folder / WEIGHTS)
    [plain] = await vectors(folder)
    half = shipped | {key: whole[key].astype(np.float16) for key in changed}
    save_file(half, folder / "open_clip_model.fp16.safetensors")
    assert await vectors(folder) == [plain], "the plain ones go first"
    (folder / WEIGHTS).unlink()
    [rounded] = await vectors(folder)
    one, other = (np.frombuffer(data, np.float32) for data in (plain, rounded))
    assert 0.999 < one @ other < 1.000001
    assert plain != rounded
