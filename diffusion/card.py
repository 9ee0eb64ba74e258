"""What is known of a model from its folder, before any weight is loaded."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.errors import BrokenModel
from servicekit.weights import weights_variant

# The mode that each pipeline of diffusers serves.
PIPELINES = {
    "StableDiffusionPipeline": "text",
    "StableDiffusionImg2ImgPipeline": "text",
    "StableDiffusionInstructPix2PixPipeline": "pix2pix",
    "StableUnCLIPImg2ImgPipeline": "unclip",
}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_DIGESTED = {".safetensors", ".json", ".txt"}
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Card:
    """A model: what it takes and what it makes.

    `digest` is the SHA-256 of its weights and configuration, in hexadecimal. `text_shape` is
    (m, d). `image_encoder` is empty and `image_dimension` 0 if it has no image encoder.
    """

    name: str
    folder: Path
    mode: str
    pipeline: str
    digest: str
    text_encoder: str
    text_shape: tuple[int, int]
    image_encoder: str
    image_dimension: int
    width: int
    height: int
    default_steps: int
    default_guidance_scale: float
    # "fp16" where only such files hold the weights of a part; None loads the plain ones.
    weights_variant: str | None = None


def read_card(folder: Path) -> Card:
    """Reads the card of a diffusers folder, and `variegate.json` for the defaults if it is there.

    Raises BrokenModel with a sentence if a file is missing or damaged. Pickles are never loaded.
    """
    name = folder.name
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    index = _json(name, files, "model_index.json")
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        known = ", ".join(PIPELINES)
        raise BrokenModel(name, f"its pipeline class is {pipeline}; it must be one of {known}")
    text = _json(name, files, "text_encoder/config.json")
    unet = _json(name, files, "unet/config.json")
    vae = _json(name, files, "vae/config.json")
    has_vision = bool((index.get("image_encoder") or [None])[0])
    vision = _json(name, files, "image_encoder/config.json") if has_vision else {}
    own = _json(name, files, "variegate.json") if "variegate.json" in files else {}
    parts = ["unet", "vae", "text_encoder", *(["image_encoder"] if has_vision else [])]
    variant = _variant_of(name, files, parts)
    side = int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
    return Card(
        name=name,
        folder=folder,
        mode=PIPELINES[pipeline],
        pipeline=pipeline,
        digest=_digest(files),
        text_encoder=own.get("text_encoder") or _part_id(files, "text_encoder"),
        text_shape=(int(text["max_position_embeddings"]), int(text["hidden_size"])),
        image_encoder=(own.get("image_encoder") or _part_id(files, "image_encoder"))
        if vision
        else "",
        image_dimension=int(vision.get("projection_dim", 0)),
        width=int(own.get("width", side)),
        height=int(own.get("height", side)),
        default_steps=int(own.get("steps", 50)),
        default_guidance_scale=float(own.get("guidance_scale", 7.5)),
        weights_variant=variant,
    )


def _files(folder: Path) -> Iterator[Path]:
    # Parts that several models share are often links to one folder.
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (Path(parent) / name for name in names)


def _variant_of(name: str, files: dict[str, Path], parts: list[str]) -> str | None:
    """Returns which weights to load: None, the plain ones, or "fp16" where a part has no others.

    Raises BrokenModel for a part without safetensors. Pickles, which hub clones hold as well, are
    never loaded.
    """
    variant = None
    for part in parts:
        own = [path for path in files if path.startswith(f"{part}/")]
        weights = [path for path in own if path.endswith(".safetensors")]
        if not weights:
            pickles = [path for path in own if Path(path).suffix in _PICKLES]
            why = (
                f", only {pickles[0]}, a pickle, which can run code when loaded" if pickles else ""
            )
            raise BrokenModel(
                name,
                f"{part}/ holds no .safetensors file{why}; convert it with save_pretrained",
            )
        variant = variant or weights_variant(Path(path).name for path in weights)
    return variant


def _json(name: str, files: dict[str, Path], path: str) -> dict[str, Any]:
    if path not in files:
        raise BrokenModel(name, f"{path} is missing; it is not a whole diffusers folder")
    try:
        values = json.loads(files[path].read_text())
    except ValueError as error:
        raise BrokenModel(name, f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise BrokenModel(name, f"{path} is not a JSON object")
    return values


def _digest(files: dict[str, Path], under: str = "") -> str:
    """Digests paths and contents. variegate.json holds defaults, which requests can override."""
    total = hashlib.sha256()
    for path in sorted(files):
        if path.startswith(under) and Path(path).suffix in _DIGESTED and path != "variegate.json":
            total.update(path.encode() + b"\0" + _file_digest(files[path]))
    return total.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.digest()


def _part_id(files: dict[str, Path], part: str) -> str:
    return f"{part}-{_digest(files, f'{part}/')[:12]}"
