"""What podman is given of an overlay: its manifests, translated as little as podman 4.3 needs.

- Namespaces, ServiceAccounts, PodDisruptionBudgets and NetworkPolicies are left out.
- A Service is the name that its pods have on podman's network; all ours are headless.
- A StatefulSet is its pod of number 0, with the claims that its templates make.
- Ports: podman publishes each on the machine, where those of the metrics would collide. The one
  for gRPC is given a port of 127.0.0.1, as `kubectl port-forward` does; the others are left out.
- A claim belongs to the user of the pods, as fsGroup has it, and is named as a trial's.

Probes are given, but podman knows none by gRPC: what they ask is asked from outside.
"""

from copy import deepcopy

from tests.k8s.rendered import Manifest, begun, named, of_kind, pod, workloads

# So that no volume of others is taken for one of these.
PREFIX = "variegate-trial-"


def pods(manifests: tuple[Manifest, ...], ports: dict[str, int]) -> dict[str, list[Manifest]]:
    """Returns for each workload, by name, the objects that its pod is made of.

    Args:
        manifests: An overlay's objects.
        ports: Where each workload's gRPC is published on this machine.
    """
    return {
        name: [*_config_maps(manifests, workload), _translated(workload, ports[name])]
        for name, workload in begun(manifests).items()
    }


def claims(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Returns the volumes that outlive their pods."""
    found = [_claim(one, owner(manifests)) for one in of_kind(manifests, "PersistentVolumeClaim")]
    for name, workload in workloads(manifests).items():
        for template in workload["spec"].get("volumeClaimTemplates", ()):
            made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **deepcopy(template)}
            made["metadata"]["name"] = _claimed_by(name, template)
            found.append(_claim(made, owner(manifests)))
    return found


def owner(manifests: tuple[Manifest, ...]) -> str:
    """Returns the group that all pods give their volumes to, which is their user's number too."""
    [found] = {pod(one)["securityContext"]["fsGroup"] for one in workloads(manifests).values()}
    return str(found)


def _config_maps(manifests: tuple[Manifest, ...], workload: Manifest) -> list[Manifest]:
    sources = [source for one in pod(workload)["containers"] for source in one["envFrom"]]
    return [named(manifests, "ConfigMap", source["configMapRef"]["name"]) for source in sources]


def _translated(workload: Manifest, port: int) -> Manifest:
    workload = deepcopy(workload)
    spec = pod(workload)
    for one in spec["containers"]:
        published = {"hostIP": "127.0.0.1", "hostPort": port}
        one["ports"] = [{**own, **published} for own in one["ports"] if own["name"] == "grpc"]
    for volume in spec["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            claim["claimName"] = PREFIX + claim["claimName"]
    return _first_pod(workload) if workload["kind"] == "StatefulSet" else workload


def _first_pod(stateful: Manifest) -> Manifest:
    name, template = stateful["metadata"]["name"], stateful["spec"]["template"]
    for claim in stateful["spec"].get("volumeClaimTemplates", ()):
        place = {"claimName": PREFIX + _claimed_by(name, claim)}
        volume = {"name": claim["metadata"]["name"], "persistentVolumeClaim": place}
        template["spec"]["volumes"].append(volume)
    metadata = {**template["metadata"], "name": f"{name}-0"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _claimed_by(name: str, template: Manifest) -> str:
    return f"{template['metadata']['name']}-{name}-0"


def _claim(claim: Manifest, owner: str) -> Manifest:
    claim = deepcopy(claim)
    claim["metadata"]["name"] = PREFIX + claim["metadata"]["name"]
    ids = {"volume.podman.io/uid": owner, "volume.podman.io/gid": owner}
    claim["metadata"].setdefault("annotations", {}).update(ids)
    return claim
