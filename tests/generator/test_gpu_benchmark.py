"""The benchmark for GPUs runs as a whole on a CPU, on tiny models, and says where it cannot."""

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.gpu import measure


def test_it_measures_all_there_is_of_each_shape():
    torch.set_num_threads(1)
    found = measure("cpu", tiny=True)
    for name in ("tiny", "tiny_xl"):
        for figure in (
            "images_per_second_1",
            "images_per_second_2",
            "share_of_matrix_rate_2",
            "teraflop_an_image",
            "host_milliseconds_a_step",
            "pipeline_images_per_second",
            "compiled_images_per_second",
            "mixed_steps_against_static_batches",
        ):
            assert found[f"{name}_{figure}"] > 0
        loop = found[f"{name}_host_milliseconds_a_step_without_unet"]
        assert 0 < loop < found[f"{name}_host_milliseconds_a_step"]
        assert 0 < found[f"{name}_decode_share"] < 1
    assert found["ratio"] == min(found["tiny_against_pipeline"], found["tiny_xl_against_pipeline"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert main(["gpu"]) == 3
    assert "gpu cannot run: there is no CUDA GPU here" in capsys.readouterr().err
