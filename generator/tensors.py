"""Tensors of messages to arrays and back."""

from typing import Any

import numpy as np
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.card import Card
from diffusion.embeddings import FloatArray, Text
from diffusion.families.base import POOLED_TEXT, TEXT
from diffusion.mixing import CaptionMix
from servicekit.errors import InvalidArgument

_TYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
}


def from_pb(tensor: pb.Tensor, field: str, encoder: str, model: str) -> FloatArray:
    """Returns the float32 array. Shape and finiteness are the engine's to check.

    Raises InvalidArgument if another encoder made it, naming both, or if bytes and shape differ.
    """
    if tensor.encoder != encoder:
        raise InvalidArgument(
            f"the embedding is of the encoder {tensor.encoder!r}; model {model!r} uses "
            f"{encoder or 'none'!r}",
            field=f"{field}.encoder",
            reason="ENCODER_MISMATCH",
            metadata={"given": tensor.encoder, "expected": encoder},
        )
    kind = _TYPES[tensor.data_type]
    expected = int(np.prod(tensor.shape, dtype=np.int64)) * kind.itemsize
    if len(tensor.data) != expected:
        raise InvalidArgument(
            f"the tensor has {len(tensor.data)} bytes; the shape {list(tensor.shape)} of "
            f"{kind.name} needs {expected}",
            field=f"{field}.data",
            reason="WRONG_SIZE",
        )
    values = np.frombuffer(tensor.data, dtype=kind).reshape(tuple(tensor.shape))
    return values.astype(np.float32)


def text_from_pb(text: pb.TextCondition, field: str, card: Card) -> Text:
    """Returns the prompt, the mix of captions, or the arrays that stand for a text.

    Raises as `from_pb` does.
    """
    if text.WhichOneof("condition") == "mix":
        return _mix(text.mix)
    if text.WhichOneof("condition") != "embedding":
        return text.prompt
    encoder, model = card.text_encoder, card.name
    arrays = {TEXT: from_pb(text.embedding, f"{field}.embedding", encoder, model)}
    if text.HasField("pooled_embedding"):
        name = f"{field}.pooled_embedding"
        arrays[POOLED_TEXT] = from_pb(text.pooled_embedding, name, encoder, model)
    return arrays


def _mix(mix: pb.CaptionMix) -> CaptionMix:
    return CaptionMix(
        captions=tuple(mix.captions),
        start=mix.start,
        coarse=tuple((edit.source, edit.first, edit.end) for edit in mix.coarse),
        fine=tuple((edit.source, edit.row, edit.first, edit.end) for edit in mix.fine),
    )


def to_pb(values: FloatArray, encoder: str) -> pb.Tensor:
    """Returns the float32 message of an array."""
    return pb.Tensor(
        data=np.ascontiguousarray(values, dtype="<f4").tobytes(),
        shape=values.shape,
        data_type=pb.DATA_TYPE_FLOAT32,
        encoder=encoder,
    )
