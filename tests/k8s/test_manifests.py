"""The manifests by themselves: they render, are valid, complete and safe in every combination."""

import json
import re
from functools import cache
from itertools import combinations

import kubernetes_validate.utils
import pytest
import yaml

from tests.k8s.rendered import (
    COMBINATIONS,
    EXCLUSIVE,
    FOREIGN,
    K8S,
    RENDERINGS,
    begun,
    containers,
    environment,
    lasts,
    of_kind,
    pod,
    quantity,
    render,
    render_own,
    services,
    workloads,
)

# It reads megabytes of schemas for every object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
NEWEST = kubernetes_validate.utils.all_versions()[-3:]
# Kinds of volumes that the restricted standard allows, as far as they are used.
_VOLUMES = {"emptyDir", "configMap", "persistentVolumeClaim", "secret"}
# Secrets are made by hand, with the command that k8s/README.md has for each.
SECRETS = {"store", "postgres", "models", "gateway-tokens"}


def test_every_two_components_that_go_together_are_in_a_combination():
    names = sorted(path.name for path in (K8S / "components").iterdir())
    wanted = {frozenset(pair) for pair in combinations(names, 2)} - set(map(frozenset, EXCLUSIVE))
    seen = [pair for parts in COMBINATIONS.values() for pair in combinations(parts, 2)]
    assert {tuple(sorted(pair)) for pair in wanted - set(map(frozenset, seen))} == set()


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_is_rendered_is_valid_to_the_letter_for_the_three_newest_versions(name):
    for manifest in render(name):
        if manifest["kind"] not in FOREIGN:
            validate(json.dumps(manifest))


@cache
def validate(manifest):
    """Raises an error for an object that is not valid; most are the same in many combinations."""
    for version in NEWEST:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@pytest.mark.parametrize("guide", sorted(K8S.rglob("README.md")), ids=str)
def test_every_kustomization_in_a_guide_renders_and_is_valid(guide):
    for example in re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL):
        own = f"../{guide.parent.name}" if guide.parent.parent.name == "overlays" else "../../base"
        for manifest in render_own({"resources": [own], **yaml.safe_load(example)}):
            if manifest["kind"] not in FOREIGN:
                validate(json.dumps(manifest))


@pytest.mark.parametrize("name", RENDERINGS)
def test_no_object_is_there_twice(name):
    keys = [(one["kind"], one["metadata"]["name"]) for one in render(name)]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", RENDERINGS)
def test_what_a_pod_refers_to_is_there(name):
    manifests = render(name)
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    there |= {("Secret", secret) for secret in SECRETS}
    there |= {("Secret", one["spec"]["secretName"]) for one in of_kind(manifests, "Certificate")}
    for workload in workloads(manifests).values():
        wanted = {("ServiceAccount", pod(workload)["serviceAccountName"])}
        for volume in pod(workload).get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                wanted.add(("PersistentVolumeClaim", claim["claimName"]))
            if config := volume.get("configMap"):
                wanted.add(("ConfigMap", config["name"]))
            if secret := volume.get("secret"):
                wanted.add(("Secret", secret["secretName"]))
        for one in containers(workload):
            for source in one.get("envFrom", ()):
                kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
                wanted |= {(kinds[key], value["name"]) for key, value in source.items()}
            for variable in one.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    wanted.add(("Secret", reference["name"]))
        assert wanted <= there
        own = {claim["metadata"]["name"] for claim in templates(workload)}
        volumes = own | {volume["name"] for volume in pod(workload).get("volumes", ())}
        for one in containers(workload):
            assert {mount["name"] for mount in one["volumeMounts"]} <= volumes


def templates(workload):
    return workload["spec"].get("volumeClaimTemplates", ())


def test_every_secret_has_its_command_in_the_guide():
    guide = (K8S / "README.md").read_text()
    assert set(re.findall(r"create secret generic ([a-z-]+)", guide)) == SECRETS


def test_no_secret_is_in_git():
    for path in K8S.rglob("*.yaml"):
        assert not re.search(r"kind: Secret$|secretGenerator|stringData", path.read_text(), re.M)


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_pod_keeps_to_the_restricted_pod_security_standard(name):
    for workload in workloads(render(name)).values():
        spec = pod(workload)
        calls = environment(render(name), spec["containers"][0]).get("TRAINER_LAUNCHER")
        is_launcher = calls == "kubernetes" and workload["kind"] == "Deployment"
        assert spec["automountServiceAccountToken"] is is_launcher
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec)
        security = spec["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", ()):
            assert set(volume) - {"name"} <= _VOLUMES
        for one in containers(workload):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in one.get("ports", ()))


@pytest.mark.parametrize("name", RENDERINGS)
def test_nothing_can_take_all_of_a_node(name):
    for workload in workloads(render(name)).values():
        for volume in pod(workload).get("volumes", ()):
            if "emptyDir" in volume:
                assert quantity(volume["emptyDir"]["sizeLimit"]) > 0
        for one in containers(workload):
            for resource in ("cpu", "memory"):
                asked, most = (one["resources"][k][resource] for k in ("requests", "limits"))
                assert 0 < quantity(asked) <= quantity(most)


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_lasting_container_has_all_three_probes(name):
    for workload in workloads(render(name)).values():
        if workload["kind"] not in ("Job", "CronJob"):
            for one in filter(lasts, containers(workload)):
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(one)


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_service_may_be_disturbed_one_pod_at_a_time_and_is_spread_over_nodes(name):
    manifests = render(name)
    budgets = {one["metadata"]["name"]: one for one in of_kind(manifests, "PodDisruptionBudget")}
    for service, workload in services(manifests).items():
        labels = workload["spec"]["selector"]["matchLabels"]
        assert labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        assert budgets[service]["spec"]["selector"]["matchLabels"] == labels
        assert budgets[service]["spec"]["maxUnavailable"] == 1
        [spread] = pod(workload)["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == labels


def test_the_overlay_for_a_laptop_fits_4_cores_and_8_gib():
    pods = [containers(workload) for workload in begun(render("dev")).values()]
    found = [one["resources"] for pod_containers in pods for one in pod_containers]
    assert sum(quantity(one["requests"]["cpu"]) for one in found) <= 4
    assert sum(quantity(one["limits"]["memory"]) for one in found) <= 8 * 2**30
