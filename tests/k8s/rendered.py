"""What kustomize makes of the manifests, and what of it the tests look at."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from servicekit.places import SERVICES

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
Manifest = dict[str, Any]

# Of these one can be used at a time; the rest goes with everything.
EXCLUSIVE = (
    ("nano", "models"),
    ("nano", "gpu"),
    ("nano", "model-fetch"),
    ("shared-store", "s3"),
    ("shared-store", "minio"),
    ("s3", "minio"),
    ("autoscaling", "keda"),
    ("autoscaling", "keda-zero"),
    ("keda", "keda-zero"),
    # Triton takes the credentials of an S3 store.
    ("shared-store", "gpu"),
    ("shared-store", "models"),
    ("shared-store", "model-fetch"),
)
# Whatever is said of these is said of every two components together, which a test counts.
COMBINATIONS: dict[str, tuple[str, ...]] = {
    "+".join(parts): ("network-policies", *parts)
    for parts in (
        ("nano", "shared-store"),
        ("nano", "shared-store", "postgres", "milvus", "autoscaling", "monitoring", "tls"),
        ("training-jobs", "nano", "shared-store", "tracing", "keda", "monitoring", "tls"),
        ("nano", "s3", "postgres", "tracing", "keda", "monitoring"),
        ("nano", "s3", "milvus", "autoscaling"),
        (
            "training-jobs",
            "nano",
            "minio",
            "postgres",
            "tracing",
            "milvus",
            "autoscaling",
            "auth",
        ),
        ("nano", "minio", "keda", "monitoring"),
        ("models", "gpu", "s3"),
        ("models", "gpu", "s3", "tracing", "autoscaling", "monitoring"),
        (
            "models",
            "gpu",
            "model-fetch",
            "s3",
            "postgres",
            "milvus",
            "keda",
            "monitoring",
            "tls",
            "auth",
        ),
        ("models", "gpu", "model-fetch", "minio", "tracing", "autoscaling", "monitoring"),
        ("models", "gpu", "minio", "postgres", "milvus"),
        (
            "nano",
            "shared-store",
            "postgres",
            "milvus",
            "keda-zero",
            "monitoring",
            "tracing",
            "auth",
        ),
        (
            "training-jobs",
            "models",
            "gpu",
            "model-fetch",
            "s3",
            "postgres",
            "keda-zero",
            "monitoring",
        ),
        ("models", "gpu", "minio", "postgres", "keda-zero", "monitoring", "tls"),
    )
}
# What clusters learn of from others, and the schemas of Kubernetes do not know.
FOREIGN = ("PodMonitor", "PrometheusRule", "ScaledObject", "Certificate", "Issuer")
OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir()))
RENDERINGS = (*OVERLAYS, *COMBINATIONS)


@cache
def render(name: str) -> tuple[Manifest, ...]:
    """Returns the objects of an overlay or of a combination of components."""
    if name in OVERLAYS:
        return kustomize(K8S / "overlays" / name)
    components = [f"../../components/{part}" for part in COMBINATIONS[name]]
    own: dict[str, Any] = {
        "namespace": "variegate",
        "resources": ["../../base"],
        "components": components,
    }
    if "model-fetch" in COMBINATIONS[name]:  # The list is the overlay's.
        own["configMapGenerator"] = [{"name": "models", "literals": ["models.yaml=models: []"]}]
    return render_own(own)


def render_own(kustomization: dict[str, Any]) -> tuple[Manifest, ...]:
    """Returns the objects of a kustomization that could lie in k8s/overlays/own."""
    with tempfile.TemporaryDirectory() as folder:
        placed = {
            key: [os.path.relpath(K8S / "overlays/own" / path, folder) for path in paths]
            for key, paths in kustomization.items()
            if key in ("resources", "components")
        }
        text = yaml.safe_dump({**kustomization, **placed})
        (Path(folder) / "kustomization.yaml").write_text(text)
        return kustomize(Path(folder))


def kustomize(folder: Path) -> tuple[Manifest, ...]:
    """Renders a folder; a warning is as bad as an error."""
    done = subprocess.run([_kubectl(), "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return tuple(yaml.load_all(done.stdout, yaml.CSafeLoader))


def _kubectl() -> str:
    """Returns the kubectl that is installed with the tests, whatever else there is."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which("kubectl", path=os.pathsep.join(folders))
    assert found, "kubectl is not installed; run `make setup`"
    return found


def of_kind(manifests: tuple[Manifest, ...], *kinds: str) -> Iterator[Manifest]:
    return (one for one in manifests if one["kind"] in kinds)


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    [found] = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name]
    return found


def workloads(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Returns what makes pods, by name."""
    kinds = ("Deployment", "StatefulSet", "Job", "CronJob")
    return {one["metadata"]["name"]: one for one in of_kind(manifests, *kinds)}


def services(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Returns the workloads that are services of ours, by name."""
    found = workloads(manifests)
    return {name: found[name] for name in SERVICES}


def pod(workload: Manifest) -> Manifest:
    found: Manifest = _template(workload)["spec"]
    return found


def _template(workload: Manifest) -> Manifest:
    job = workload["spec"].get("jobTemplate", workload)
    found: Manifest = job["spec"]["template"]
    return found


def begun(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Returns the workloads that make pods without anybody's asking, by name."""
    found = workloads(manifests)
    return {name: one for name, one in found.items() if one["spec"].get("replicas") != 0}


def behind(manifests: tuple[Manifest, ...], service: Manifest) -> dict[str, Manifest]:
    """Returns the workloads whose pods a Service selects, by name."""
    selector = service["spec"]["selector"].items()
    return {
        name: one
        for name, one in workloads(manifests).items()
        if selector <= _template(one)["metadata"]["labels"].items()
    }


def containers(workload: Manifest) -> list[Manifest]:
    """Returns all containers of the workload's pods, with those that start first."""
    spec = pod(workload)
    return [*spec.get("initContainers", ()), *spec["containers"]]


def lasts(one: Manifest) -> bool:
    """Says whether a container of a service's pod is more than a step that ends before."""
    return "--wait" not in one.get("args", ())


def container(workload: Manifest, name: str) -> Manifest:
    [found] = [one for one in containers(workload) if one["name"] == name]
    return found


def environment(manifests: tuple[Manifest, ...], one: Manifest) -> dict[str, str]:
    """Returns what the process finds in its environment, as far as it is in the manifests.

    What comes from elsewhere, as the pod's name, has a value that says so.
    """
    found: dict[str, str] = {}
    for source in one.get("envFrom", ()):
        if reference := source.get("configMapRef"):
            found |= named(manifests, "ConfigMap", reference["name"])["data"]
    for variable in one.get("env", ()):
        found[variable["name"]] = variable.get("value", "set by the cluster")
    return found


def volume_at(workload: Manifest, one: Manifest, path: str) -> tuple[str, bool]:
    """Returns the volume that a path of a container lies on, and whether it may be written to."""
    mounts = [m for m in one["volumeMounts"] if Path(path).is_relative_to(m["mountPath"])]
    assert mounts, f"{path} of {one['name']} is on no volume"
    nearest = max(mounts, key=lambda mount: len(mount["mountPath"]))
    return nearest["name"], not nearest.get("readOnly", False)


def quantity(text: Any) -> float:
    """Returns a quantity of Kubernetes as a number: "250m" is 0.25, "1Gi" is 2**30."""
    units = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
    for unit, factor in units.items():
        if str(text).endswith(unit):
            return float(str(text).removesuffix(unit)) * factor
    return float(text)


def write_all(folder: Path) -> None:
    """Writes every rendering into a file of its own, for other programs to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RENDERINGS:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(render(name)))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
