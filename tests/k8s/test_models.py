"""Models reach the pods: a Job fetches what a list says, and what needs them waits for its own."""

import json
from pathlib import PurePosixPath

import pytest
import typer
import yaml

from gateway.cli.main import app
from gateway.cli.weights.wanted import read_list
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    container,
    containers,
    environment,
    named,
    of_kind,
    pod,
    render,
    render_own,
    services,
    volume_at,
    workloads,
)

FETCHED = [name for name in RENDERINGS if name == "prod" or "+model-fetch" in name]
# Where a service is told of its models, and the container that reads them.
READERS = {
    "captioner": ("CAPTIONER_MODEL", "captioner"),
    "generator": ("GENERATOR_MODELS_FOLDER", "triton"),
    "retriever": ("RETRIEVER_CLIP", "retriever"),
}


def options(one):
    """Returns what the real command line makes of a container's arguments."""
    command = typer.main.get_command(app)
    name, *rest = one["args"]
    return command.commands[name].make_context(name, rest).params


@pytest.mark.parametrize("name", FETCHED)
def test_the_job_fetches_the_list_onto_the_volume_that_services_read(name):
    manifests = render(name)
    job = workloads(manifests)["models"]
    one = container(job, "models")
    given = options(one)
    assert not given["wait"] and not given["only"]
    assert volume_at(job, one, str(given["into"])) == ("models", True)
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for workload in (job, *services(manifests).values())
        for volume in pod(workload)["volumes"]
        if volume["name"] == "models"
    }
    assert claims == {"models"}
    # HF_HUB_OFFLINE is for services, which load what is there.
    assert not [source for source in one["envFrom"] if "configMapRef" in source]


@pytest.mark.parametrize("name", FETCHED)
def test_what_reads_models_starts_once_its_own_are_there(name):
    manifests = render(name)
    wanted = {}
    for service, workload in services(manifests).items():
        first = containers(workload)[0]
        if first["name"] == "models":
            given = options(first)
            assert given["wait"]
            assert volume_at(workload, first, str(given["into"])) == ("models", False)
            [folder] = given["only"]
            wanted[service] = str(PurePosixPath(given["into"]) / folder)
    for service, (setting, reader) in READERS.items():
        one = container(services(manifests)[service], reader)
        assert wanted.pop(service) == environment(manifests, one)[setting]
    vllm = container(services(manifests)["prompter"], "vllm")
    assert f"--model={wanted.pop('prompter')}" in vllm["args"]
    assert not wanted


@pytest.mark.parametrize("name", FETCHED)
def test_a_changed_list_is_another_job_and_starts_pods_anew(name):
    manifests = render(name)
    [lists] = [
        one["metadata"]["name"]
        for one in of_kind(manifests, "ConfigMap")
        if "models.yaml" in one["data"]
    ]
    assert lists.startswith("models-"), "the name has a digest of what is in it"
    found = [
        volume["configMap"]["name"]
        for workload in workloads(manifests).values()
        for volume in pod(workload).get("volumes", ())
        if volume["name"] == "wanted-models"
    ]
    assert found == [lists] * (len(READERS) + 3)


def test_the_lists_are_ones_that_the_command_takes(tmp_path):
    [document] = [
        one["data"]["models.yaml"]
        for one in of_kind(render("prod"), "ConfigMap")
        if "models.yaml" in one["data"]
    ]
    (tmp_path / "list.yaml").write_text(document)
    folders = {model.folder.split("/")[0] for model in read_list(tmp_path / "list.yaml")}
    assert folders == {"captioner", "clip", "diffusion", "llm"}
    guide = (K8S / "components/model-fetch/README.md").read_text()
    example = yaml.safe_load(guide.split("```yaml\n")[1].split("```")[0])
    [text] = example["configMapGenerator"][0]["literals"]
    (tmp_path / "list.yaml").write_text(text.removeprefix("models.yaml="))
    assert len(read_list(tmp_path / "list.yaml")) == 3


def test_models_in_an_image_need_no_claim():
    guide = (K8S / "components/model-fetch/README.md").read_text()
    example = yaml.safe_load(guide.split("```yaml\n")[2].split("```")[0])
    manifests = render_own({"resources": ["../../base"], **example})
    assert '"claimName": "models"' not in json.dumps(manifests)
    for service in (*READERS, "prompter"):
        [volume] = [
            one
            for one in pod(named(manifests, "Deployment", service))["volumes"]
            if one["name"] == "models"
        ]
        assert set(volume) == {"name", "image"}
