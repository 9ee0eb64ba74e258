"""components/tls: each service has a certificate for the names that it is called by."""

from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import jsonschema
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests_ports import free_port
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.errors import PermissionDenied, Unavailable
from servicekit.places import SERVICES
from servicekit.server import LIVENESS, running
from servicekit.settings import load
from servicekit.targets import Target
from tests.authority import Authority, Mounted
from tests.k8s.cert_manager import SCHEMAS
from tests.k8s.configured import processes, server_settings, settings_class
from tests.k8s.rendered import (
    COMBINATIONS,
    RENDERINGS,
    behind,
    container,
    environment,
    named,
    of_kind,
    pod,
    render,
    services,
    volume_at,
    workloads,
)
from tests.servicekit.echo import echo

WITH = [name for name, parts in COMBINATIONS.items() if "tls" in parts]
FOLDER = Path("/etc/variegate/tls")


def certificate_of(manifests, workload):
    """Returns the Certificate whose Secret a workload mounts."""
    [volume] = [one for one in pod(workload)["volumes"] if one["name"] == "tls"]
    secret = volume["secret"]["secretName"]
    [found] = [
        one for one in of_kind(manifests, "Certificate") if one["spec"]["secretName"] == secret
    ]
    return found["spec"]


def serving(manifests):
    """Returns the workloads that serve calls, each with its container."""
    found = [(one, container(one, name)) for name, one in services(manifests).items()]
    screener = workloads(manifests)["screener"]
    return [*found, (screener, container(screener, "retriever"))]


def gateway_settings(manifests):
    environ = environment(manifests, container(services(manifests)["gateway"], "gateway"))
    return load(settings_class("gateway"), environ, "gateway")


@pytest.mark.parametrize("name", WITH)
def test_what_cert_manager_is_given_is_what_it_takes(name):
    found = list(of_kind(render(name), *SCHEMAS))
    assert {one["kind"] for one in found} == set(SCHEMAS)
    for one in found:
        jsonschema.validate(one, SCHEMAS[one["kind"]])


@pytest.mark.parametrize("name", WITH)
def test_every_server_shows_the_certificate_that_is_mounted_for_it(name):
    manifests = render(name)
    for workload, one in serving(manifests):
        settings = server_settings(environment(manifests, one))
        assert settings.tls_certificate == str(FOLDER / "tls.crt")
        assert settings.tls_key == str(FOLDER / "tls.key")
        assert volume_at(workload, one, settings.tls_key) == ("tls", False)
        assert "server auth" in certificate_of(manifests, workload)["usages"]


@pytest.mark.parametrize("name", WITH)
def test_probes_ask_the_port_of_health_and_prometheus_the_same_as_ever(name):
    manifests, plain = render(name), render("nano+shared-store")
    for workload, one in serving(manifests):
        settings = server_settings(environment(manifests, one))
        assert settings.health_port not in (0, settings.port, settings.metrics_port)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert one[probe]["grpc"]["port"] == settings.health_port
        ports = container(workloads(plain)[workload["metadata"]["name"]], one["name"])["ports"]
        assert [port for port in ports if port not in one["ports"]] == []


@pytest.mark.parametrize("name", WITH)
def test_the_gateway_calls_every_service_by_a_name_of_its_certificate(name):
    manifests = render(name)
    settings = gateway_settings(manifests)
    assert settings.tls_ca == str(FOLDER / "ca.crt")
    targets = [getattr(settings, one) for one in (*SERVICES[1:], "screener")]
    for host in (Target.of(target).host for target in targets):
        called = behind(manifests, named(manifests, "Service", host)).values()
        assert called
        for workload in called:
            assert host in certificate_of(manifests, workload)["dnsNames"]


@pytest.mark.parametrize("name", WITH)
def test_services_answer_the_gateway_alone_and_the_gateway_whoever_calls(name):
    manifests = render(name)
    shown = certificate_of(manifests, services(manifests)["gateway"])
    assert "client auth" in shown["usages"]
    for workload, one in serving(manifests):
        settings = server_settings(environment(manifests, one))
        if one["name"] == "gateway":
            assert (settings.tls_ca, settings.tls_peers) == ("", ())
        else:
            assert settings.tls_ca == str(FOLDER / "ca.crt")
            assert settings.tls_peers and set(settings.tls_peers) <= set(shown["dnsNames"])
            own = certificate_of(manifests, workload)
            assert not set(settings.tls_peers) & set(own["dnsNames"])


@pytest.mark.parametrize("name", WITH)
def test_the_gateway_is_called_by_its_services_names_and_through_a_forwarded_port(name):
    manifests = render(name)
    gateway = services(manifests)["gateway"]
    for service in of_kind(manifests, "Service"):
        if gateway in behind(manifests, service).values():
            host = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
            names = {service["metadata"]["name"], host, f"{host}.svc", "localhost"}
            assert names <= set(certificate_of(manifests, gateway)["dnsNames"])


@pytest.mark.parametrize("name", WITH)
def test_every_certificate_comes_from_an_issuer_that_is_there_and_is_renewed_in_time(name):
    manifests = render(name)
    issuers = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "Issuer")}
    found = [one["spec"] for one in of_kind(manifests, "Certificate")]
    assert {one["issuerRef"]["name"] for one in found} == set(issuers)
    assert issuers["authority"]["ca"]["secretName"] in {one["secretName"] for one in found}
    for one in found:
        before, lasts = (int(one[key].removesuffix("h")) for key in ("renewBefore", "duration"))
        assert lasts > 2 * before, "a certificate is used for longer than it is kept in hand"
        assert before * 6 > lasts, "services warn of one that has a sixth of its time left"
    mounted = {
        volume["secret"]["secretName"]
        for workload in workloads(manifests).values()
        for volume in pod(workload).get("volumes", ())
        if "secret" in volume
    }
    assert "authority-tls" not in mounted, "nobody has the authority's key"


@pytest.mark.parametrize("name", [name for name in RENDERINGS if name not in WITH])
def test_without_the_component_nothing_speaks_tls(name):
    for _, _, _, environ in processes(name):
        assert not [key for key in environ if "_TLS_" in key or key == "SERVER_HEALTH_PORT"]


class Cluster:
    """The files of the component's Secrets, as cert-manager fills them, and what reads them."""

    def __init__(self, folder):
        self.manifests = render(WITH[0])
        self._folder, self._authority = folder, Authority("variegate")

    def environment(self, name):
        """Returns the variables of a service, its Secret mounted below the folder."""
        workload = services(self.manifests)[name]
        wanted = certificate_of(self.manifests, workload)
        issued = self._authority.issue(*wanted["dnsNames"])
        # The key as cert-manager writes it, unless it is told otherwise (SEC 1).
        issued = issued.traditional()
        Mounted(self._folder / name, issued, self._authority.certificate)
        found = environment(self.manifests, container(workload, name))
        return {key: text.replace(str(FOLDER), str(self._folder / name)) for key, text in
                found.items()}  # fmt: skip


async def test_servers_and_the_gateway_read_what_the_component_mounts(tmp_path, fails):
    cluster, port = Cluster(tmp_path), free_port()
    environ = {**cluster.environment("captioner"), "SERVER_HEALTH_PORT": str(port)}
    environ["SERVER_HOST"] = "127.0.0.1"
    settings = server_settings(environ)
    gateway = load(settings_class("gateway"), cluster.environment("gateway"), "gateway")
    prompter = server_settings(cluster.environment("prompter"))
    intruder = {
        f"GATEWAY_TLS_{part.upper()}": getattr(prompter, f"tls_{part}")
        for part in ("ca", "certificate", "key")
    }
    intruder = load(settings_class("gateway"), intruder, "gateway")
    request = pb.CaptionImageRequest(image_uri="store:a", prefix="heard")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(echo(), settings=settings))

        async def calling(certificates):
            channel = open_channel(
                server.target,
                certificates=certificates,
                server_name=Target.of(gateway.captioner).host,
            )
            stub = rpc.CaptionerServiceStub(await stack.enter_async_context(channel))
            return stub.CaptionImage(request, timeout=20)

        answer = await (await calling(gateway.certificates()))
        assert answer.caption.text == "heard"
        assert isinstance(await fails(await calling(intruder.certificates())), PermissionDenied)
        assert isinstance(await fails(await calling(None)), Unavailable)
        probe = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        query = health_pb2.HealthCheckRequest(service=LIVENESS)
        answer = await health_pb2_grpc.HealthStub(probe).Check(query, timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
