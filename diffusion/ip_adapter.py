"""IP-Adapter: an image embedding beside the text, in cross-attentions of its own.

The adapter is a file `ip-adapter*.safetensors` in the folder of a Stable Diffusion, and
`image_encoder/` beside it is the encoder that it was trained with. Adapters that read an image
embedding are served; Plus, Full Face and FaceID read other features.
"""

from typing import Any

import torch
from torch import Tensor, nn

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
    shapes = folder.tensor_shapes(names[0])
    if _PROJECTION not in shapes:
        raise BrokenModel(
            folder.name,
            f"{names[0]} is not an IP-Adapter that reads an image embedding; Plus, Full Face and "
            "FaceID adapters are not served",
        )
    if not folder.has(f"{ENCODER}/config.json"):
        raise BrokenModel(
            folder.name,
            f"{names[0]} needs {ENCODER}/, the image encoder that it was trained with, beside it",
        )
    folder.weights_variant([ENCODER])
    rows, dimension = shapes[_PROJECTION]
    made = int(folder.json(f"{ENCODER}/config.json")["projection_dim"])
    if dimension != made:
        raise BrokenModel(
            folder.name,
            f"{names[0]} reads image embeddings of length {dimension} and {ENCODER}/ makes {made}; "
            "use the encoder that it was trained with",
        )
    width = folder.json("unet/config.json")["cross_attention_dim"]
    if rows != _TOKENS * width:
        raise BrokenModel(
            folder.name,
            f"{names[0]} is of models whose text is {rows // _TOKENS} wide; this one's is {width}",
        )
    return names[0]


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


def attach_adapter(pipeline: Any, folder: ModelFolder, name: str) -> None:
    """Gives a pipeline's U-Net the adapter; its rows then have a scale of their own each.

    Diffusers' adapter has one scale for a whole call. Here the scale travels as the last entry of
    an embedding, and of each token that is made of it: rows of any scale share a call, and a row of
    scale 0 has no adapter.
    """
    pipeline.load_ip_adapter(
        folder.path,
        subfolder="",
        weight_name=name,
        image_encoder_folder=None,
        local_files_only=True,
    )
    unet = pipeline.unet
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
