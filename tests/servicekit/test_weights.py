"""Which weights of a model's folder are loaded."""

import pytest

from servicekit.weights import weights_variant


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (["model.safetensors"], None),
        (["model.fp16.safetensors"], "fp16"),
        (["model.safetensors", "model.fp16.safetensors"], None),
        (["model.fp16-00001-of-00002.safetensors"], "fp16"),
        (["model-00001-of-00002.fp16.safetensors"], "fp16"),
        (["fp16.safetensors"], None),
        (["model.fp160.safetensors"], None),
        ([], None),
    ],
)
def test_half_is_loaded_where_there_is_nothing_else(names, variant):
    assert weights_variant(names) == variant
