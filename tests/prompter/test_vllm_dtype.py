"""The dtype in which a local vLLM computes."""

import pytest

from prompter.vllm.launcher import _dtype


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags : sse4_2 fma avx avx2", "float32"),
        ("flags : fma avx2 avx512f avx512_bf16", "auto"),
        ("Features : fp asimd bf16", "auto"),
        ("", "auto"),
    ],
)
def test_a_processor_that_multiplies_bfloat16_slowly_computes_in_float32(flags, dtype):
    assert _dtype(flags) == dtype
