"""The pods of an overlay in podman, on a network where they find one another by name."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.k8s.rendered import Manifest, begun, behind, container, of_kind, pod, render
from tests.pods.manifests import PREFIX, claims, pods
from tests.tests_ports import free_port

NETWORK = f"{PREFIX}network"


def podman(*words: str, check: bool = True) -> str:
    """Runs podman and returns what it prints. Raises SystemExit with what it says is wrong."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"podman {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Pods:
    """One pod per workload of an overlay."""

    def __init__(self, overlay: str, folder: Path) -> None:
        self.manifests, self.folder = render(overlay), folder
        self.workloads: dict[str, Manifest] = begun(self.manifests)
        self.ports = {name: free_port() for name in self.workloads}

    def start(self) -> None:
        """Makes the network and the volumes, and gives podman the manifests."""
        self._remove_own()
        podman("network", "create", NETWORK)
        self._play("claims", claims(self.manifests), NETWORK)
        for name, objects in pods(self.manifests, self.ports).items():
            aliases = [
                f"alias={service['metadata']['name']}"
                for service in of_kind(self.manifests, "Service")
                if name in behind(self.manifests, service)
            ]
            self._play(name, objects, f"{NETWORK}:{','.join(aliases)}")

    def _play(self, name: str, objects: list[Manifest], network: str) -> None:
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        podman("play", "kube", "--network", network, str(file))

    def pod(self, name: str) -> str:
        """Returns what podman calls the pod of a workload."""
        label = f"label=app.kubernetes.io/name={name}"
        return podman("pod", "ps", "--filter", label, "--format", "{{.Name}}")

    def container(self, name: str) -> str:
        """Returns what podman calls the container of a workload's pod."""
        return f"{self.pod(name)}-{name}"

    def inspect(self, name: str) -> Manifest:
        """Returns what podman knows of a workload's container."""
        found: Manifest = json.loads(podman("inspect", self.container(name)))[0]
        return found

    def address(self, name: str) -> str:
        """Returns where a workload's pod serves gRPC, seen from this machine."""
        return f"127.0.0.1:{self.ports[name]}"

    def is_ready(self, name: str) -> bool:
        """Asks what the readiness probe asks."""
        probe = container(self.workloads[name], name)["readinessProbe"]["grpc"]
        ask = health_pb2.HealthCheckRequest(service=probe.get("service", ""))
        with grpc.insecure_channel(self.address(name)) as channel:
            try:
                found = health_pb2_grpc.HealthStub(channel).Check(ask, timeout=5)
            except grpc.RpcError:
                return False
        return bool(found.status == health_pb2.HealthCheckResponse.SERVING)

    def ready(self, *names: str, seconds: float = 300) -> Iterator[str]:
        """Yields each pod once it is ready. Raises SystemExit if one ends or takes longer."""
        deadline, waiting = time.monotonic() + seconds, list(names)
        while waiting:
            for name in [name for name in waiting if self.is_ready(name)]:
                waiting.remove(name)
                yield name
            for name in waiting:
                if not self.inspect(name)["State"]["Running"] or time.monotonic() > deadline:
                    raise SystemExit(f"{name} is not ready:\n{self.log(name)}")
            time.sleep(0.2)

    def log(self, name: str) -> str:
        """Returns the end of a container's log."""
        done = subprocess.run(
            ["podman", "logs", "--tail", "30", self.container(name)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.stdout

    def start_again(self, name: str) -> None:
        """Starts a killed container, as the kubelet does: podman has nobody who would."""
        podman("pod", "start", self.pod(name))

    def terminate(self, name: str) -> tuple[int, float]:
        """Ends a container by SIGTERM; returns the exit code and how long it took.

        Not the pod: podman takes that one's network away while the container still drains.
        """
        started = time.monotonic()
        grace = pod(self.workloads[name])["terminationGracePeriodSeconds"]
        podman("stop", "--time", str(grace), self.container(name))
        seconds = time.monotonic() - started
        return int(self.inspect(name)["State"]["ExitCode"]), seconds

    def volume(self, claim: str) -> Path:
        """Returns where a claim's files are on this machine."""
        found = podman("volume", "inspect", "-f", "{{.Mountpoint}}", PREFIX + claim)
        return Path(found)

    def remove(self) -> None:
        """Removes the pods and what they kept."""
        for name in self.workloads:
            if found := self.pod(name):
                podman("pod", "rm", "--force", "--time", "0", *found.split())
        self._remove_own()

    def _remove_own(self) -> None:
        """Removes what bears a name of a trial's, also what an earlier one left."""
        for name in (one["metadata"]["name"] for one in claims(self.manifests)):
            podman("volume", "rm", "--force", name, check=False)
        podman("network", "rm", "--force", NETWORK, check=False)


def strangers() -> list[str]:
    """Returns the pods that are here already and would be mixed up with a trial's."""
    label = "label=app.kubernetes.io/part-of=variegate"
    return podman("pod", "ps", "--filter", label, "--format", "{{.Name}}").split()


def image_of(workload: Manifest) -> str:
    """Returns the image of a workload's pod."""
    [one] = pod(workload)["containers"]
    return str(one["image"])


def missing_images(found: dict[str, Manifest]) -> list[str]:
    """Returns the images that workloads name and that are not here."""
    names = {image_of(workload) for workload in found.values()}
    done = {name: subprocess.run(["podman", "image", "exists", name]) for name in names}
    return sorted(name for name, result in done.items() if result.returncode)
