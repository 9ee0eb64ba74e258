"""The dashboard asks for metrics that the services have, by labels that these have."""

import json
import re

import pytest

from gateway.metrics import GatewayMetrics
from generator.service import GeneratorService
from servicekit.places import SERVICES
from servicekit.storage import MemoryStore
from servicekit.telemetry import Metrics
from servicekit.workload import metrics_of
from tests.k8s.rendered import K8S, RENDERINGS, named, render

DASHBOARD = json.loads((K8S / "components/monitoring/dashboard.json").read_text())
# Those that tell of their workload; see tests/e2e/test_metrics.py.
WORKING = ("gateway", "captioner", "generator", "retriever")
# Where there is a GPU; see servicekit/telemetry.py.
GPU = ("variegate_gpu_memory_used_bytes", "variegate_gpu_memory_bytes")


def exported():
    """Returns the labels of every series that a Prometheus reads, by name."""
    found = {name: set() for service in WORKING for name, _, _ in metrics_of(service)}
    for service in SERVICES:
        metrics = Metrics(service)
        metrics.calls.labels("/method", "OK").inc()
        metrics.seconds.labels("/method").observe(1)
        metrics.failures.labels("REASON").inc()
        for family in metrics.registry.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    for collector in own_collectors():
        for family in collector.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found | {name: {"gpu"} for name in GPU}


def own_collectors():
    """What services tell besides, after something of each kind has happened."""
    gateway, generator = GatewayMetrics(), GeneratorService(MemoryStore(), 0)
    gateway.decided("ACCEPTED")
    gateway.ended("DONE")
    generator.images.labels("made").inc()
    return [*gateway.collectors(lambda: 0.0), generator.images]


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_every_metric_is_one_that_a_service_has():
    asked = {name for text in expressions() for name in re.findall(r"variegate_\w+", text)}
    assert asked and asked <= set(exported())


def test_every_label_is_one_of_its_metric_or_of_where_prometheus_found_it():
    known = exported()
    for text in expressions():
        for name, labels in re.findall(r"(variegate_\w+){([^}]*)}", text):
            for label in re.findall(r"(\w+)[!=]", labels):
                assert label in known[name] | {"namespace", "pod"}
        for groups in re.findall(r"by \(([\w, ]+)\)", text):
            assert set(groups.split(", ")) <= {
                "pod", "le", "code", "method", "outcome", "reason", "gpu", "gpu_uuid"
            }  # fmt: skip


def test_all_that_services_tell_of_their_work_is_shown():
    asked = {name for text in expressions() for name in re.findall(r"variegate_\w+", text)}
    for service in ("captioner", "generator", "retriever"):
        assert {name for name, _, _ in metrics_of(service)} <= asked


def test_panels_do_not_overlap_and_have_a_title_each():
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", [name for name in RENDERINGS if "+monitoring" in name])
def test_grafana_finds_it_by_its_label(name):
    found = named(render(name), "ConfigMap", "variegate-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["variegate.json"]) == DASHBOARD
