"""Artefacts made by hand, where engines fetch them from, and what they make with them."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import safetensors.torch
import torch

from diffusion.artefacts.facts import Artefact, Facts, Kind
from diffusion.artefacts.files import write
from generator.engine.errors import UnknownArtefact
from generator.engine.items import Item
from tests.generator import tiny

TEXT = Item("text", seed=7, steps=2, guidance_scale=3.0, text="a dog")


class Shelf:
    """A fetcher that counts, and the files that it holds."""

    def __init__(self):
        self.files, self.fetched = {}, []

    def add(self, name, data, kind=Kind.UNET):
        self.files[f"store:{name}"] = data
        return Artefact(f"store:{name}", hashlib.sha256(data).hexdigest(), kind)

    def __call__(self, uri):
        self.fetched.append(uri)
        if uri not in self.files:
            raise UnknownArtefact(uri)
        return self.files[uri]


def shifted(unet, shift, name="conv_out.bias"):
    """A file of UNET that moves one tensor of a U-Net."""
    tensor = unet.state_dict()[name] + shift
    return write(Facts(Kind.UNET), {name: tensor.contiguous()})


def lora_layers(unet):
    """The linear layers of a U-Net's attentions, and one convolution."""
    ends = ("to_q", "to_k", "to_v", "to_out.0", "conv_in")
    return {name: layer for name, layer in unet.named_modules() if name.endswith(ends)}


def lora_tensors(unet, rank=2, size=0.3, alpha=None):
    """A random LoRA of a U-Net; with the `size` 0 its B is zero, as at the start of training."""
    draws = torch.Generator().manual_seed(5)
    tensors = {}
    for name, layer in lora_layers(unet).items():
        kernel = tuple(layer.weight.shape[2:])
        down = (rank, layer.weight.shape[1], *kernel)
        up = (layer.weight.shape[0], rank, *(1 for _ in kernel))
        tensors[f"{name}.lora_A.weight"] = torch.randn(down, generator=draws)
        tensors[f"{name}.lora_B.weight"] = torch.randn(up, generator=draws) * size
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    return tensors


def word_file(facts, parts=("text_encoder",), count=2, width=tiny.WIDTH, seed=1):
    """A file of TOKENS with random vectors."""
    draws = torch.Generator().manual_seed(seed)
    return write(facts, {part: torch.randn(count, width, generator=draws) for part in parts})


def without_adapter(folder: Path, name: str) -> bytes:
    """Takes the adapter out of a model's folder and returns the file; its encoder stays."""
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    return data


def copied(source: Path, target: Path) -> Path:
    """Returns a copy of a model's folder."""
    shutil.copytree(source, target)
    return target


def adapter_tensors(data):
    """The tensors of an adapter's file."""
    return safetensors.torch.load(data)


def made(engine, *artefacts, **change):
    item = dataclasses.replace(TEXT, artefacts=artefacts, **change)
    return engine.submit(item).result(60).pixels
