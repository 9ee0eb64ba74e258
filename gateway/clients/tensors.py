"""Embeddings between arrays and messages: little-endian float32 in C order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from variegate.generator.v1 import generator_pb2 as pb

Array = NDArray[np.float32]

_TYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
}


def to_tensor(array: Array, encoder: str) -> pb.Tensor:
    """Returns the message of an array that `encoder` made, or that was mixed of such arrays."""
    return pb.Tensor(
        data=np.ascontiguousarray(array, "<f4").tobytes(),
        shape=array.shape,
        data_type=pb.DATA_TYPE_FLOAT32,
        encoder=encoder,
    )


def to_array(tensor: pb.Tensor) -> Array:
    """Returns the array of a message."""
    values = np.frombuffer(tensor.data, _TYPES[tensor.data_type])
    return values.astype(np.float32).reshape(tuple(tensor.shape))
