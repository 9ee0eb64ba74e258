"""Autoscalers look at metrics that the services have, and ask for pods that exist."""

import re

import pytest
import yaml

from gateway.clients import replicas
from servicekit.workload import metrics_of
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    container,
    containers,
    named,
    of_kind,
    quantity,
    render,
    services,
)

SCALED = ("captioner", "generator")
HPA = [name for name in RENDERINGS if "+autoscaling" in name]
KEDA = [name for name in RENDERINGS if "+keda" in name]
# Of a namespace and a pod, as the adapter gives it to an autoscaler.
METRIC = {service: f"variegate_{service}_load" for service in SCALED}


def test_the_metrics_are_those_of_the_services():
    for service, metric in METRIC.items():
        assert metric in [name for name, _, _ in metrics_of(service)]


@pytest.mark.parametrize("name", HPA)
def test_autoscalers_follow_the_work_that_waits_in_each_service(name):
    manifests = render(name)
    found = {
        one["metadata"]["name"]: one["spec"]
        for one in of_kind(manifests, "HorizontalPodAutoscaler")
    }
    assert set(found) == set(SCALED)
    for service, spec in found.items():
        target = spec["scaleTargetRef"]
        assert named(manifests, target["kind"], target["name"]) == services(manifests)[service]
        [metric] = spec["metrics"]
        assert metric["pods"]["metric"]["name"] == METRIC[service]


@pytest.mark.parametrize("name", KEDA)
def test_scaled_objects_follow_the_same_work(name):
    manifests = render(name)
    found = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "ScaledObject")}
    assert set(found) == set(SCALED)
    for service, spec in found.items():
        assert spec["scaleTargetRef"] == {"name": service}
        [trigger] = spec["triggers"]
        query = trigger["metadata"]["query"]
        [metric, namespace] = re.search(r"(variegate_\w+){namespace=\"(\w+)\"}", query).groups()
        assert metric == METRIC[service]
        assert namespace == services(manifests)[service]["metadata"]["namespace"]


@pytest.mark.parametrize("service", SCALED)
def test_both_kinds_of_autoscaler_want_the_same(service):
    hpa = named(render(HPA[0]), "HorizontalPodAutoscaler", service)["spec"]
    keda = named(render(KEDA[0]), "ScaledObject", service)["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (
        keda["minReplicaCount"],
        keda["maxReplicaCount"],
    )
    own = keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert own["scaleDown"] == hpa["behavior"]["scaleDown"]
    threshold = float(keda["triggers"][0]["metadata"]["threshold"])
    assert quantity(hpa["metrics"][0]["pods"]["target"]["averageValue"]) == threshold
    # A pod that is just kept busy is not joined by another; one that is given all it takes is.
    assert 1.0 < threshold < replicas._DEPTH


@pytest.mark.parametrize("name", [*HPA, *KEDA])
def test_no_pod_is_given_up_while_its_successor_would_still_load(name):
    manifests = render(name)
    hpa = named(render(HPA[0]), "HorizontalPodAutoscaler", "generator")["spec"]
    patience = hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
    front = container(services(manifests)["generator"], "generator")["startupProbe"]
    assert patience >= 2 * front["periodSeconds"] * front["failureThreshold"]


def test_the_rule_of_the_adapter_knows_every_metric():
    [rule] = yaml.safe_load((K8S / "components/autoscaling/adapter-rule.yaml").read_text())["rules"]
    pattern = re.search(r'__name__=~"([^"]+)"', rule["seriesQuery"])[1]
    for metric in METRIC.values():
        assert re.fullmatch(pattern, metric)


@pytest.mark.parametrize("name", [name for name in RENDERINGS if "+monitoring" in name])
def test_prometheus_is_told_of_every_port_with_metrics(name):
    manifests = render(name)
    [monitor] = of_kind(manifests, "PodMonitor")
    asked = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    labels = monitor["spec"]["selector"]["matchLabels"]
    for workload in services(manifests).values():
        assert labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        for one in containers(workload):
            there = {
                port["name"] for port in one.get("ports", ()) if port["name"].endswith("metrics")
            }
            assert there <= asked
    assert asked == {"metrics", "triton-metrics"}
