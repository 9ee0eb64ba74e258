"""Who may call whom, by the network policies: what the code calls, and nothing else."""

import ast
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from generator.triton.container import command
from servicekit.places import SERVICES
from servicekit.server_settings import ServerSettings
from servicekit.settings import create, load, read
from tests.k8s.configured import settings_class
from tests.k8s.rendered import (
    RENDERINGS,
    ROOT,
    behind,
    container,
    containers,
    environment,
    named,
    of_kind,
    render,
    services,
    workloads,
)

NAME = "app.kubernetes.io/name"
GATEWAY = {"podSelector": {"matchLabels": {NAME: "gateway"}}}
# What our code calls others with, and which setting says where they are. Whoever adds one says here
# how a policy can know of it.
CLIENTS = {
    "servicekit.channels": "a service of ours: GATEWAY_SERVICE",
    "grpc": "handlers, and channels of servicekit.channels",
    "minio": "SERVER_STORE",
    "urllib3": "SERVER_STORE, and the list of models",
    "dbos": "GATEWAY_DATABASE_URL",
    "sqlalchemy": "GATEWAY_DATABASE_URL",
    "dns": "the cluster's DNS",
    "socket": "free ports, the name of this machine, and where a channel's connection failed",
    "huggingface_hub": "the list of models; CAPTIONER_MODEL is a folder in a cluster",
    "httpx2": "the list of models; PROMPTER_LLM; the API server, with TRAINER_LAUNCHER",
    "openai": "PROMPTER_LLM",
    "pymilvus": "RETRIEVER_MILVUS",
    "tritonclient": "GENERATOR_TRITON",
    "opentelemetry": "SERVER_TRACE_ENDPOINT",
    "prometheus_client": "answers only",
    "urllib": "the words of addresses; the keys of GATEWAY_AUTH_ISSUER",
}
# Any package that could call somebody.
CALLERS = set(CLIENTS) | {
    "aiohttp", "aiokafka", "boto3", "ftplib", "httpx", "kubernetes", "paramiko", "psycopg",
    "pymongo", "redis", "requests", "smtplib", "socketserver", "telnetlib", "websockets", "xmlrpc",
}  # fmt: skip


def policies(manifests):
    return {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "NetworkPolicy")}


def ports_of(workload):
    return {
        port["name"]: port["containerPort"]
        for one in containers(workload)
        for port in one.get("ports", ())
    }


@pytest.mark.parametrize("name", RENDERINGS)
def test_nothing_comes_in_or_goes_out_that_no_policy_opens(name):
    closed = policies(render(name))["nobody"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("name", RENDERINGS)
def test_only_the_gateway_calls_the_other_services_and_anybody_the_gateway(name):
    found = policies(render(name))
    assert found["gateway"]["ingress"] == [{"ports": [{"port": "grpc"}]}]
    for service in set(SERVICES) - {"gateway"}:
        [rule] = found[service]["ingress"]
        assert rule["from"] == [GATEWAY]
        assert rule["ports"] == [{"port": "grpc"}]


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_opened_port_is_one_of_a_pod_that_is_there(name):
    manifests = render(name)
    there = workloads(manifests)
    for policy in policies(manifests).values():
        selected = policy["podSelector"].get("matchLabels", {})
        if NAME in selected and "ingress" in policy:
            [rule] = policy["ingress"]
            if selected[NAME] == "training":  # Its pods alone, on ports that they choose.
                assert rule == {"from": [{"podSelector": {"matchLabels": selected}}]}
                continue
            assert {port["port"] for port in rule["ports"]} <= set(ports_of(there[selected[NAME]]))


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_every_pod_calls_may_be_called(name):
    opened = {
        policy["podSelector"]["matchLabels"][NAME]
        for policy in policies(render(name)).values()
        if NAME in policy["podSelector"].get("matchLabels", {}) and "ingress" in policy
    }
    lasting = {key for key, one in workloads(render(name)).items() if one["kind"] != "Job"}
    assert opened == lasting


def addresses(value):
    """Yields (host, port) of every address in the value of a setting."""
    text = str(value)
    parts = urlsplit(text)
    if parts.scheme == "s3":
        [endpoint] = parse_qs(parts.query).get("endpoint", [""])
        host, _, port = endpoint.partition(":")
        yield from [(host, int(port or 443))] if host else []
    elif parts.scheme == "dns":
        yield parts.path[1:].rsplit(":", 1)[0], int(parts.path.rsplit(":", 1)[1])
    elif parts.hostname:
        default = {"https": 443, "http": 80, "postgresql": 5432}[parts.scheme]
        yield parts.hostname, parts.port or default
    elif found := re.fullmatch(r"([\w.-]+):(\d+)", text):
        yield found[1], int(found[2])


def called(manifests, service):
    """Returns (host, port) of all that the settings of a service name outside its own pod."""
    environ = environment(manifests, container(services(manifests)[service], service))
    own = load(settings_class(service), environ, service)
    values = [*vars(own).values()]
    if service != "prompter":
        values.append(environ["SERVER_STORE"])
    server = create(ServerSettings, read(ServerSettings, environ, "SERVER"), "SERVER")
    values.append(server.trace_endpoint)
    for beside in containers(services(manifests)[service]):
        if beside["name"] == "triton":  # It reads no settings; its arguments are made of them.
            words = command(environment(manifests, beside), ())
            values += [word.partition(",url=")[2] for word in words]
    found = {address for value in values for address in addresses(value)}
    return {(host, port) for host, port in found if host not in ("127.0.0.1", "0.0.0.0")}


def allowed(manifests, name):
    """Returns (pod's name or "", port's number) of all that a policy lets a pod call."""
    there = workloads(manifests)
    for rule in policies(manifests)[name]["egress"]:
        targets = [target.get("podSelector") for target in rule.get("to", [{}])]
        for selector in filter(None, targets):
            labels = selector.get("matchLabels", {})
            names = [labels[NAME]] if labels else selector["matchExpressions"][0]["values"]
            for one in set(names) & set(there):
                for port in rule["ports"]:
                    yield one, ports_of(there[one])[port["port"]]
        if "to" not in rule:
            yield from (("", port["port"]) for port in rule["ports"])


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_service_may_call_what_its_settings_name_and_nothing_else(name):
    manifests = render(name)
    there = {one["metadata"]["name"]: one for one in of_kind(manifests, "Service")}
    for service in SERVICES:
        wanted = {
            (pods, port)
            for host, port in called(manifests, service)
            for pods in (behind(manifests, there[host]) if host in there else [""])
        }
        if "+s3" in name and service != "prompter":  # The overlay says where it is.
            wanted.add(("", 443))
        if service == "trainer" and "training-jobs" in name:  # The API server, behind its Service.
            wanted |= {("", 443), ("", 6443)}
        assert set(allowed(manifests, service)) == wanted


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_is_called_by_a_name_is_a_service_with_that_port(name):
    manifests = render(name)
    for service in SERVICES:
        for host, port in called(manifests, service):
            if host in workloads(manifests):
                shown = named(manifests, "Service", host)["spec"]["ports"]
                assert port in [one["port"] for one in shown]


@pytest.mark.parametrize("name", RENDERINGS)
def test_jobs_call_their_server_and_every_pod_may_look_up_names(name):
    manifests = render(name)
    found = policies(manifests)
    lookup = found["dns"]["egress"]
    assert found["dns"]["podSelector"] == {}
    assert [port["port"] for rule in lookup for port in rule["ports"]] == [53, 53]
    jobs = {key for key, one in workloads(manifests).items() if one["kind"] == "Job"}
    wanted = {"models": {("", 443), ("minio", 9000)}, "minio-bucket": {("minio", 9000)}}
    for job in jobs:
        assert found[job]["egress"][0] == lookup[0]
        assert {
            target for target in allowed(manifests, job) if target[0] in ("", *workloads(manifests))
        } == {target for target in wanted[job] if target[0] in ("", *workloads(manifests))}


@pytest.mark.parametrize("package", [*SERVICES, "servicekit", "imaging", "datafiles"])
def test_no_package_calls_anybody_that_the_policies_do_not_know_of(package):
    strangers = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            strangers |= {
                (str(path), name)
                for name in names
                if name.split(".")[0] in CALLERS or name == "http.client"
            }
    assert {(path, name) for path, name in strangers if name.split(".")[0] not in CLIENTS} == set()
