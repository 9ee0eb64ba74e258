"""Loaded services tell of their work in the metrics that autoscalers and dashboards look at."""

import importlib
import re

import pytest
from prometheus_client import generate_latest

from servicekit.server import running
from servicekit.storage import MemoryStore
from servicekit.workload import metrics_of


@pytest.mark.parametrize("service", ["captioner", "generator", "retriever"])
async def test_a_loaded_service_tells_of_its_work(service):
    settings = getattr(importlib.import_module(f"{service}.settings"), f"{service.title()}Settings")
    wiring = importlib.import_module(f"{service}.wiring")
    async with running(wiring.create_service(settings(), MemoryStore())) as server:
        text = generate_latest(server.metrics.registry).decode()
    for name, _, _ in metrics_of(service):
        assert re.search(rf"^{name} 0\.0$", text, re.MULTILINE)
