"""Who may call whom, by the network policies: what the code needs, and nothing else."""

import pytest

from servicekit.places import SERVICES
from tests.k8s.rendered import RENDERINGS, containers, of_kind, render, workloads

NAME = "app.kubernetes.io/name"


def policies(manifests):
    return {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "NetworkPolicy")}


def ports_of(workload):
    return {port["name"] for one in containers(workload) for port in one.get("ports", ())}


@pytest.mark.parametrize("name", RENDERINGS)
def test_nothing_reaches_a_pod_that_no_policy_opens(name):
    closed = policies(render(name))["nobody"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress"]}


@pytest.mark.parametrize("name", RENDERINGS)
def test_only_the_gateway_calls_the_other_services_and_anybody_the_gateway(name):
    found = policies(render(name))
    assert found["gateway"]["ingress"] == [{"ports": [{"port": "grpc"}]}]
    for service in set(SERVICES) - {"gateway"}:
        [rule] = found[service]["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {NAME: "gateway"}}}]
        assert rule["ports"] == [{"port": "grpc"}]


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_opened_port_is_one_of_a_pod_that_is_there(name):
    manifests = render(name)
    there = workloads(manifests)
    for policy in policies(manifests).values():
        selected = policy["podSelector"].get("matchLabels", {})
        if NAME in selected:
            [rule] = policy["ingress"]
            assert {port["port"] for port in rule["ports"]} <= ports_of(there[selected[NAME]])


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_every_pod_calls_may_be_called(name):
    opened = {
        policy["podSelector"]["matchLabels"][NAME]
        for policy in policies(render(name)).values()
        if NAME in policy["podSelector"].get("matchLabels", {})
    }
    lasting = {key for key, one in workloads(render(name)).items() if one["kind"] != "Job"}
    assert opened == lasting
