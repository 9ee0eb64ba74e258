"""What a worker makes of errors."""

import errno
import os
import resource
import subprocess
import sys

import pytest
import torch

from trainer.launchers.workers import failure_of as to_error
from trainer.worker import _failure as to_event


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 12.9 GiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_lack_of_memory_is_told_apart_however_a_library_puts_it(error):
    event = to_event(error)
    assert event["reason"] == "OUT_OF_MEMORY" and "\n" not in event["message"]
    failure = to_error(event)
    assert failure.code.name == "RESOURCE_EXHAUSTED"
    assert "smaller batch_size or image_size" in failure.message


def test_memory_that_really_runs_out_is_told_with_its_remedy():
    """A process with little memory asks torch and numpy for more than it has."""
    code = (
        "import numpy, torch\n"
        "from trainer.worker import _failure\n"
        "for ask in (lambda: torch.zeros(2**36), lambda: numpy.zeros(2**40)):\n"
        "    try:\n        ask()\n"
        "    except Exception as error:\n        print(_failure(error)['reason'])\n"
    )
    limit = 64 * 2**30
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.stdout.split() == ["OUT_OF_MEMORY", "OUT_OF_MEMORY"], done.stderr


def test_a_full_scratch_folder_is_no_bug_of_ours():
    failure = to_error(to_event(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert failure.reason == "SCRATCH_FULL" and "TRAINER_SCRATCH" in failure.message


def test_any_other_error_is_ours_and_leaves_a_trace(capsys):
    event = to_event(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert event["reason"] == "INTERNAL"
    assert "mat1" in capsys.readouterr().err
