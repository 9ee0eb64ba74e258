"""Loaded services tell of their work in the metrics that autoscalers and dashboards look at."""

import asyncio
import importlib
import re

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest
from variegate.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from gateway import wiring as gateway
from gateway.settings import GatewaySettings
from servicekit.channels import open_channel
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


async def test_the_gateway_tells_of_unfinished_work_and_of_calls_but_not_of_probes(tmp_path):
    settings = GatewaySettings(
        database_url=f"sqlite:///{tmp_path}/gateway.sqlite",
        generator="127.0.0.1:9",  # Nobody is there, as where no replica runs.
        patience_seconds=60,
    )
    names = ("variegate_gateway_items_running", "variegate_gateway_calls_in_flight")
    service = gateway.create_service(settings, MemoryStore())
    async with running(service) as server, open_channel(server.target) as channel:

        def shown():
            text = generate_latest(server.metrics.registry).decode()
            return [float(re.search(rf"^{name} (.+)$", text, re.MULTILINE)[1]) for name in names]

        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        assert shown() == [0, 0]
        call = gateway_pb2_grpc.GatewayServiceStub(channel).ListModels(
            gateway_pb2.ListModelsRequest(), timeout=30
        )
        waiting = asyncio.ensure_future(call)
        async with asyncio.timeout(20):
            while shown() != [0, 1]:
                await asyncio.sleep(0.02)
        waiting.cancel()
        watch.cancel()
