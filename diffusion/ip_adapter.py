"""IP-Adapter: an image embedding beside the text, in cross-attentions of its own.

The adapter is a file `ip-adapter*.safetensors` in the folder of a Stable Diffusion, or an artefact,
and `image_encoder/` in the folder is the encoder that it was trained with. Adapters that read an
image embedding are served; Plus, Full Face and FaceID read other features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.artefacts.errors import mismatch
from diffusion.errors import BrokenModel
from diffusion.folder import ModelFolder

ENCODER = "image_encoder"
_PATTERN = "ip-adapter*.safetensors"
_PROJECTION, _TOKENS = "image_proj.proj.weight", 4


def find_adapter(folder: ModelFolder) -> str:
    """Returns the name of the adapter's file, "" without one.

    Raises BrokenModel if it is not one that is served, or not of this model and its encoder.
    """
    names = folder.named(_PATTERN)
    if not names:
        if others := folder.named("ip-adapter*"):
            raise BrokenModel(
                folder.name,
                f"{others[0]} is no .safetensors file; pickles, which can run code when loaded, "
                "are never loaded: put the adapter's .safetensors file there",
            )
        return ""
    if len(names) > 1:
        raise BrokenModel(folder.name, f"it holds several adapters, {', '.join(names)}; keep one")
    if not folder.has(f"{ENCODER}/config.json"):
        raise BrokenModel(
            folder.name,
            f"{names[0]} needs {ENCODER}/, the image encoder that it was trained with, beside it",
        )
    folder.weights_variant([ENCODER])
    made = int(folder.json(f"{ENCODER}/config.json")["projection_dim"])
    width = int(folder.json("unet/config.json")["cross_attention_dim"])
    if problem := _problem(folder.tensor_shapes(names[0]), made, width):
        raise BrokenModel(folder.name, f"{names[0]} {problem}")
    return names[0]


def has_encoder(folder: ModelFolder) -> bool:
    """Says whether an image encoder that can be loaded lies beside the model, for adapters."""
    return folder.has(f"{ENCODER}/config.json") and folder.has_weights(ENCODER)


def check_adapter(unet: Any, tensors: Mapping[str, Tensor], uri: str, dimension: int) -> None:
    """Raises BadArtefact unless the artefact at `uri` is an adapter for this U-Net.

    `dimension` is the length of the model's image embeddings.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    width = int(unet.config.cross_attention_dim)
    if problem := _problem(shapes, dimension, width):
        raise mismatch(f"{uri} {problem}")
    expected = _shapes(unet, dimension, width)
    for name in sorted(expected.keys() | shapes.keys()):
        if (found := shapes.get(name)) != (wanted := expected.get(name)):
            raise mismatch(
                f"{uri} is not an adapter of this model: {name!r} has the shape {_shown(found)} "
                f"there and {_shown(wanted)} in the model"
            )


def _shapes(unet: Any, dimension: int, width: int) -> Mapping[str, tuple[int, ...]]:
    """Returns the shapes of all tensors of an adapter for a U-Net."""
    found: dict[str, tuple[int, ...]] = {
        _PROJECTION: (_TOKENS * width, dimension),
        "image_proj.proj.bias": (_TOKENS * width,),
        "image_proj.norm.weight": (width,),
        "image_proj.norm.bias": (width,),
    }
    cross = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(cross):
        # Adapters number the attentions, those of the image to itself among them.
        rows = int(unet.get_submodule(name.removesuffix(".processor")).inner_dim)
        for part in ("to_k_ip", "to_v_ip"):
            found[f"ip_adapter.{2 * number + 1}.{part}.weight"] = (rows, width)
    return found


def _shown(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))


def _problem(shapes: Mapping[str, tuple[int, ...]], made: int, width: int) -> str:
    """Says why an adapter does not fit a model; "" if it does.

    `made` is the length of the model's image embeddings, `width` that of its texts' tokens.
    """
    if _PROJECTION not in shapes:
        return (
            "is not an IP-Adapter that reads an image embedding; Plus, Full Face and FaceID "
            "adapters are not served"
        )
    rows, dimension = shapes[_PROJECTION]
    if dimension != made:
        return (
            f"reads image embeddings of length {dimension} and {ENCODER}/ makes {made}; use the "
            "encoder that it was trained with"
        )
    if rows != _TOKENS * width:
        return f"is of models whose text is {rows // _TOKENS} wide; this one's is {width}"
    return ""


def attach_encoder(pipeline: Any, folder: ModelFolder, dtype: torch.dtype) -> None:
    """Gives a pipeline the adapter's image encoder."""
    import transformers

    encoder = transformers.CLIPVisionModelWithProjection.from_pretrained(
        folder.path / ENCODER,
        dtype=dtype,
        use_safetensors=True,
        variant=folder.weights_variant([ENCODER]),
        local_files_only=True,
    )
    pipeline.register_modules(image_encoder=encoder)
    if pipeline.feature_extractor is None:
        side = encoder.config.image_size
        extractor = transformers.CLIPImageProcessor(size=side, crop_size=side)
        pipeline.register_modules(feature_extractor=extractor)


def attach_adapter(unet: Any, tensors: Mapping[str, Tensor]) -> None:
    """Gives a U-Net an adapter; its rows then have a scale of their own each.

    Diffusers' adapter has one scale for a whole call. Here the scale travels as the last entry of
    an embedding, and of each token that is made of it: rows of any scale share a call, and a row of
    scale 0 has no adapter.
    """
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=True)
    [projection] = unet.encoder_hid_proj.image_projection_layers
    unet.encoder_hid_proj = _Tokens(projection)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.to_k_ip = nn.ModuleList([_Keys(linear) for linear in processor.to_k_ip])
            processor.to_v_ip = nn.ModuleList([_Values(linear) for linear in processor.to_v_ip])


class _Tokens(nn.Module):
    """Embeddings with their scales [n, d + 1] to tokens with theirs, one image a row."""

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, embeddings: Tensor) -> list[Tensor]:
        tokens = self.projection(embeddings[:, :-1])
        scales = embeddings[:, None, -1:].expand(-1, tokens.shape[1], 1)
        return [torch.cat([tokens, scales], dim=-1)[:, None]]


class _Keys(nn.Module):
    """The keys of tokens, which do not depend on the scale."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Tensor) -> Tensor:
        keys: Tensor = self.linear(tokens[..., :-1])
        return keys


class _Values(_Keys):
    """The values of tokens, times the scale: so is then what the attention gives."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * tokens[..., -1:]
