"""The manifests and the code agree: a name that changes in one of them alone fails here."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from servicekit.errors import InvalidArgument
from servicekit.places import SERVICES, port_of
from servicekit.server import LIVENESS
from servicekit.server_settings import ServerSettings
from servicekit.settings import load
from servicekit.storage import open_store
from tests.k8s.configured import processes, server_settings, settings_class
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    ROOT,
    behind,
    container,
    containers,
    environment,
    named,
    pod,
    quantity,
    render,
    services,
    volume_at,
    workloads,
)

# Variables of the processes that are no settings of ours.
OTHERS = {"HOME", "HF_HUB_OFFLINE", "POSTGRES_PASSWORD"}
# Time for closing what is open once the calls in flight have ended.
CLOSING_SECONDS = 15


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_variable_is_a_setting_with_a_value_that_the_service_takes(name):
    for service, _, _, environ in processes(name):
        own = settings_class(service)
        load(own, environ, service)
        server_settings(environ)
        known = {f"SERVER_{field.name}".upper() for field in fields(ServerSettings)}
        known |= {f"{service}_{field.name}".upper() for field in fields(own)}
        assert set(environ) - OTHERS <= known


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_service_listens_on_its_port_and_says_so(name):
    manifests = render(name)
    for service, workload in services(manifests).items():
        one = container(workload, service)
        settings = server_settings(environment(manifests, one))
        assert settings.host == "0.0.0.0"
        assert settings.port == port_of(service)
        ports = {port["name"]: port["containerPort"] for port in one["ports"]}
        assert ports == {"grpc": settings.port, "metrics": settings.metrics_port}
        shown = named(manifests, "Service", service)["spec"]
        assert {port["targetPort"]: port["port"] for port in shown["ports"]} == ports
        assert shown["clusterIP"] == "None", "clients spread their calls over all addresses"
        assert shown["selector"].items() <= workload["spec"]["selector"]["matchLabels"].items()


@pytest.mark.parametrize("name", RENDERINGS)
def test_loading_and_draining_never_look_dead(name):
    manifests = render(name)
    for service, workload in services(manifests).items():
        one = container(workload, service)
        port = server_settings(environment(manifests, one)).health_port or port_of(service)
        for probe in ("startupProbe", "livenessProbe"):
            assert one[probe]["grpc"] == {"port": port, "service": LIVENESS}
        # Without a name it is the server as a whole.
        assert one["readinessProbe"]["grpc"] == {"port": port}


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_pod_is_given_more_time_to_end_than_its_drain_takes(name):
    for _, workload, _, environ in processes(name):
        drain = server_settings(environ).drain_seconds
        assert pod(workload)["terminationGracePeriodSeconds"] >= drain + CLOSING_SECONDS


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_gateway_finds_every_other_service_by_its_headless_name(name):
    manifests = render(name)
    gateway = container(services(manifests)["gateway"], "gateway")
    settings = load(settings_class("gateway"), environment(manifests, gateway), "gateway")
    for service in set(SERVICES) - {"gateway"}:
        assert getattr(settings, service) == f"dns:///{service}:{port_of(service)}"
        assert named(manifests, "Service", service)["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("name", RENDERINGS)
def test_screeners_are_retrievers_beside_the_one_that_has_the_indexes(name):
    manifests = render(name)
    gateway = container(services(manifests)["gateway"], "gateway")
    settings = load(settings_class("gateway"), environment(manifests, gateway), "gateway")
    retriever, screener = (workloads(manifests)[one] for one in ("retriever", "screener"))
    shown = named(manifests, "Service", "screening")["spec"]
    assert settings.screener == f"dns:///screening:{port_of('retriever')}"
    assert shown["clusterIP"] == "None"
    assert behind(manifests, {"spec": shown}) == {"retriever": retriever, "screener": screener}
    assert container(screener, "retriever") == container(retriever, "retriever")
    assert screener["spec"]["replicas"] == 0, "an overlay says how many"
    budget = named(manifests, "PodDisruptionBudget", "screener")
    assert budget["spec"]["selector"] == screener["spec"]["selector"]


@pytest.mark.parametrize("name", RENDERINGS)
def test_gateways_are_named_by_their_pods_and_several_share_a_postgresql(name):
    manifests = render(name)
    workload = services(manifests)["gateway"]
    one = container(workload, "gateway")
    url = load(settings_class("gateway"), environment(manifests, one), "gateway").database_url
    replicas = workload["spec"]["replicas"]
    assert workload["kind"] == "StatefulSet"
    assert replicas == 1 if url.startswith("sqlite:") else replicas > 1
    assert named(manifests, "PodDisruptionBudget", "gateway")["spec"]["maxUnavailable"] == 1
    [identity] = [variable for variable in one["env"] if variable["name"] == "GATEWAY_EXECUTOR_ID"]
    assert identity["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.mark.parametrize("name", [name for name in RENDERINGS if "postgres" in name])
def test_any_gateway_is_reached_at_one_address(name):
    manifests = render(name)
    shown = named(manifests, "Service", "any-gateway")["spec"]
    assert "clusterIP" not in shown
    assert shown["selector"] == named(manifests, "Service", "gateway")["spec"]["selector"]
    [port] = shown["ports"]
    assert (port["port"], port["targetPort"]) == (port_of("gateway"), "grpc")


@pytest.mark.parametrize("name", RENDERINGS)
def test_replicas_that_people_and_autoscalers_set_are_not_taken_back_by_an_apply(name):
    found = services(render(name))
    free = {service for service in SERVICES if "replicas" not in found[service]["spec"]}
    assert free == {"captioner", "prompter", "generator"}


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_a_process_writes_is_on_a_volume_that_it_may_write_to(name):
    for service, workload, one, environ in processes(name):
        written = ["/tmp", environ["HOME"]]
        written += [environ[k] for k in ("RETRIEVER_CACHE", "TRAINER_SCRATCH") if k in environ]
        store = environ.get("SERVER_STORE", "")
        if store.startswith("file://") and service != "prompter":
            written.append(store.removeprefix("file://"))
        database = environ.get("GATEWAY_DATABASE_URL", "")
        if database.startswith("sqlite:"):
            written.append(str(Path(database.removeprefix("sqlite:///")).parent))
        for path in written:
            assert volume_at(workload, one, path)[1], f"{service} cannot write to {path}"


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_trainers_cache_fits_its_volume(name):
    manifests = render(name)
    workload = services(manifests)["trainer"]
    one = container(workload, "trainer")
    settings = load(settings_class("trainer"), environment(manifests, one), "trainer")
    assert settings.cache_bytes < room_at(workload, one, settings.scratch)


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_retrievers_fingerprints_leave_room_for_indexes(name):
    manifests = render(name)
    workload = services(manifests)["retriever"]
    one = container(workload, "retriever")
    settings = load(settings_class("retriever"), environment(manifests, one), "retriever")
    assert settings.fingerprint_bytes <= room_at(workload, one, settings.cache) / 2


def room_at(workload, one, path):
    """Returns the bytes of the emptyDir that a path lies on."""
    volume, _ = volume_at(workload, one, str(path))
    [size] = [v["emptyDir"]["sizeLimit"] for v in pod(workload)["volumes"] if v["name"] == volume]
    return quantity(size)


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_service_is_told_of_one_store(name):
    [store] = {environ["SERVER_STORE"] for *_, environ in processes(name)}
    if "+s3" in name:  # Where that is, the overlay says.
        with pytest.raises(InvalidArgument, match="use file:///FOLDER or s3://BUCKET"):
            open_store(store)
    elif not store.startswith("file:"):
        assert open_store(store)


@pytest.mark.parametrize("name", RENDERINGS)
def test_images_of_ours_are_named_as_they_are_built(name):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for workload in workloads(render(name)).values():
        for one in containers(workload):
            own, tag = one["image"].rsplit(":", 1)
            assert tag != "latest"
            if own.startswith("variegate/"):
                assert tag == version
                # Others run the command line, which the gateway's image has.
                name = "gateway" if "command" in one else one["name"]
                assert own == f"variegate/{name}"


def test_every_folder_says_what_it_is():
    for group in ("overlays", "components"):
        for folder in (K8S / group).iterdir():
            text = (folder / "kustomization.yaml").read_text()
            assert text.startswith("# ")
            assert (folder / "README.md").exists() or group == "components"
            assert f"{group}/{folder.name}" in (K8S / "README.md").read_text()
