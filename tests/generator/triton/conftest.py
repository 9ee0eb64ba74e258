"""What Triton itself tells: its statistics, its metrics, its processes."""

import re
import time
import urllib.request

import psutil
import pytest
import tritonclient.grpc

from generator.triton.launcher import LocalTriton
from generator.triton.signature import MODEL


class Observed:
    """A running server, seen from outside."""

    def __init__(self, server: LocalTriton):
        self.server = server

    def counts(self):
        """Returns how many inferences there were, and in how many executions, once all is counted:
        Triton counts an execution after its answers have gone out.
        """
        before = None
        while (now := self._counts()) != before:
            before = now
            time.sleep(0.2)
        return now

    def _counts(self):
        with tritonclient.grpc.InferenceServerClient(self.server.target) as client:
            [stats] = client.get_inference_statistics(MODEL).model_stats
        return stats.inference_count, stats.execution_count

    def steps(self):
        """Returns how many denoising steps were made, each image counted."""
        return int(self.metric("variegate_generator_steps"))

    def metric(self, name):
        """Returns the value of one of the model's own metrics."""
        url = f"http://127.0.0.1:{self.server.ports.metrics}/metrics"
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        found = re.search(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
        return float(found[1])

    def stub(self):
        """Returns the process that runs the model."""
        family = psutil.Process(self.server.pid).children(recursive=True)
        return next(p for p in family if "python_backend_stub" in " ".join(p.cmdline()))


@pytest.fixture
def observed(triton_server, triton_backend):
    return Observed(triton_server)
