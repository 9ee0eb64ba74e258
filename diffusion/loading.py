"""Loads diffusers' pipelines: local folders and safetensors only."""

from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file

from diffusion.card import ModelCard
from diffusion.errors import BrokenModel
from diffusion.families.registry import family_of
from diffusion.folder import ModelFolder
from diffusion.ip_adapter import attach_adapter, attach_encoder
from diffusion.placement import Placement
from models.torchvision_cpu import declare_missing_operators


def load_pipeline(card: ModelCard, placement: Placement, *, without: tuple[str, ...] = ()) -> Any:
    """Returns the pipeline of a model on its device; parts named in `without` are not loaded.

    Raises BrokenModel with diffusers' own words.
    """
    # Pipelines import torchvision if it is installed, and it must find its operators.
    declare_missing_operators()
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    kind: Callable[..., Any] = getattr(diffusers, card.pipeline).from_pretrained
    left_out = (*without, *family_of(card.pipeline, card.name).left_out)
    try:
        pipeline = kind(
            card.folder,
            dtype=placement.dtype,
            use_safetensors=True,
            variant=card.weights_variant,
            local_files_only=True,
            low_cpu_mem_usage=True,
            **dict.fromkeys(left_out),
        )
        if card.adapter or card.takes_adapter:
            attach_encoder(pipeline, ModelFolder(card.folder), placement.dtype)
        if card.adapter and "unet" not in without:
            attach_adapter(pipeline.unet, load_file(card.folder / card.adapter))
    except Exception as error:
        raise BrokenModel(card.name, f"its components do not load: {error}") from error
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(placement.device).requires_grad_(False).eval()
    return pipeline
