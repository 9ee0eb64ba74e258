"""Which of the weights in a model's folder are loaded: the plain ones, or half of them."""

import re
from collections.abc import Iterable

HALF = "fp16"
# model.fp16.safetensors, and of shards model.fp16-00001-of-00002.safetensors and
# model-00001-of-00002.fp16.safetensors.
_HALF_NAME = re.compile(rf"\.{HALF}[.-]")


def weights_variant(names: Iterable[str]) -> str | None:
    """Returns "fp16" if only such files are among the names of a model's weights, else None.

    None means the plain ones. Hub folders often hold both, and small clones of them only half.
    """
    given = list(names)
    return HALF if given and all(map(is_half, given)) else None


def is_half(name: str) -> bool:
    """Says whether a file's name says that its weights are of half precision."""
    return bool(_HALF_NAME.search(name))
