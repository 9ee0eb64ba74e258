"""Autoscalers look at metrics that the services have, and ask for pods that exist."""

import re

import pytest
import yaml

from gateway.clients import replicas
from gateway.settings import GatewaySettings
from servicekit.settings import load
from servicekit.workload import metrics_of
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    container,
    containers,
    environment,
    lasts,
    named,
    of_kind,
    quantity,
    render,
    services,
)

SCALED = ("captioner", "generator")
HPA = [name for name in RENDERINGS if "+autoscaling" in name]
KEDA = [name for name in RENDERINGS if "+keda" in name and "+keda-zero" not in name]
ZERO = [name for name in RENDERINGS if "+keda-zero" in name]
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


@pytest.mark.parametrize("name", ZERO)
def test_what_sleeps_is_woken_by_the_work_of_the_gateway_and_by_calls_that_wait_in_it(name):
    found = {one["metadata"]["name"]: one["spec"] for one in of_kind(render(name), "ScaledObject")}
    assert set(found) == {*SCALED, "prompter"}
    for spec in found.values():
        assert spec["minReplicaCount"] == 0
        *_, waking = (trigger["metadata"] for trigger in spec["triggers"])
        asked = set(re.findall(r"variegate_\w+(?={)", waking["query"]))
        assert asked == {"variegate_gateway_items_running", "variegate_gateway_calls_in_flight"}
        # Any work at all wakes one, and never more than one.
        assert float(waking["activationThreshold"]) == 0 and float(waking["threshold"]) > 1000
        assert waking["serverAddress"] == spec["triggers"][0]["metadata"]["serverAddress"]


@pytest.mark.parametrize("name", ZERO)
def test_the_gateway_waits_and_sleep_comes_later_than_the_slowest_start(name):
    manifests = render(name)
    gateway = container(services(manifests)["gateway"], "gateway")
    patience = load(GatewaySettings, environment(manifests, gateway), "gateway").patience_seconds
    for one in of_kind(manifests, "ScaledObject"):
        spec = one["spec"]
        workload = services(manifests)[spec["scaleTargetRef"]["name"]]
        probes = [found["startupProbe"] for found in filter(lasts, containers(workload))]
        slowest = sum(probe["periodSeconds"] * probe["failureThreshold"] for probe in probes)
        assert spec["cooldownPeriod"] > slowest
        assert patience > slowest + spec["pollingInterval"]


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
