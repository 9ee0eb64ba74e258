"""Tries the images: python -m tests.pods

The dev overlay's six services run in podman from the rendered manifests. The command line augments
from outside while the generator and then the gateway are killed and come back. What is made must
be what the same command makes without containers, byte for byte. `make test-images` runs it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from servicekit.places import SERVICES
from servicekit.storage import open_store
from tests.command_line import CommandLine
from tests.e2e.conftest import write_folder
from tests.pods.alone import alone
from tests.pods.podman import Pods, image_of, missing_images, podman, strangers
from tests.pods.seen import Seen

CLASSES = ("airplane", "dog", "ship")
PER_CLASS = {"mvc": 96, "clip_templates": 6}
# How long a killed container stays away. A kubelet is back sooner the first time.
AWAY_SECONDS = 5


def main() -> None:
    """Runs the trial. Raises SystemExit with the first thing that is not as it should be."""
    need_podman()
    seen = Seen()
    with alone(), tempfile.TemporaryDirectory(prefix="variegate-trial-") as name:
        check_machine()
        folder = Path(name)
        six = Pods("dev", folder)
        if missing := missing_images(six.workloads):
            raise SystemExit(f"not built: {', '.join(missing)}; run `make images`")
        try:
            Trial(six, folder, seen).run()
        finally:
            six.remove()
            print(seen)


def need_podman() -> None:
    """Raises SystemExit without podman, or the right to use it."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        raise SystemExit("the trial needs podman, as root")


def check_machine() -> None:
    """Raises SystemExit with the remedy if the trial cannot be run here, or would meddle."""
    if found := strangers():
        remedy = f"end them with: podman pod rm --force {' '.join(found)}"
        raise SystemExit(f"pods of variegate are here already: {', '.join(found)}; {remedy}")
    if podman("info", "--format", "{{.Host.NetworkBackend}}") != "netavark":
        remedy = "install netavark and aardvark-dns, and set network_backend in containers.conf"
        raise SystemExit(f"podman's network has no names for pods; {remedy}")


class Trial:
    """What is done with the six pods, in order."""

    def __init__(self, six: Pods, folder: Path, seen: Seen) -> None:
        self.six, self.folder, self.seen = six, folder, seen
        self.variegate, self.own = CommandLine(folder), folder / "store"

    def run(self) -> None:
        self.images()
        expected = {method: self.embedded(method) for method in PER_CLASS}
        self.start()
        self.augment_with_kills(expected["mvc"])
        self.augment("clip_templates", expected["clip_templates"])
        self.nothing_twice()
        self.train()
        self.memory()
        self.end()

    def images(self) -> None:
        """Says what is tried: images may be older than the checkout."""
        for name in SERVICES:
            [one] = json.loads(podman("image", "inspect", image_of(self.six.workloads[name])))
            revision = one["Labels"]["org.opencontainers.image.revision"][:12]
            self.seen(f"{name}: an image of {one['Size'] / 1e6:.0f} MB, built of {revision}")

    def start(self) -> None:
        self.six.start()
        self.seen("six pods from the rendered manifests of dev")
        for name in self.six.ready(*SERVICES):
            self.seen(f"{name} is SERVING")
        self.store = self.six.volume("store")
        self.photographs(self.store)

    def photographs(self, store: Path) -> None:
        """Puts images into a store, as a system's own images are."""
        write_folder("target", store / "train", list(CLASSES), 4)
        write_folder("test", store / "test", list(CLASSES), 10)

    def command(self, method: str, out: str, *system: str) -> list[str | Path]:
        return [
            "augment", "store:train", "--method", method, "--per-class", str(PER_CLASS[method]),
            "--steps", "8", "--deterministic", "--yes", "--json", "--out", self.folder / out,
            *system,
        ]  # fmt: skip

    def embedded(self, method: str) -> dict[str, str]:
        """Returns what the command makes with all services in its own process."""
        if not self.own.exists():
            self.photographs(self.own)
        command = self.command(method, f"embedded-{method}", "--store", f"file://{self.own}")
        self.finished(self.variegate.start(*command))
        made = digests(self.folder / f"embedded-{method}")
        self.seen(f"{method}, embedded: {len(made)} files")
        return made

    def outside(self) -> list[str]:
        return ["--gateway", self.six.address("gateway"), "--store", f"file://{self.store}"]

    def augment_with_kills(self, expected: dict[str, str]) -> None:
        total = PER_CLASS["mvc"] * len(CLASSES)
        running = self.variegate.start(*self.command("mvc", "pods-mvc", *self.outside()))
        self.seen("mvc, by the command line outside")
        for name, share in (("generator", 0.1), ("gateway", 0.4)):
            victim = self.six.container(name)
            while len(self.made()) < share * total:
                self.still(running)
                time.sleep(0.02)
            podman("kill", victim)
            if (count := len(self.made())) >= total:
                raise SystemExit(f"{name} was killed when all images were made: make more of them")
            self.seen(f"{name} killed at {count} of {total} images")
            time.sleep(AWAY_SECONDS)
            self.six.start_again(name)
            for again in self.six.ready(name):
                self.seen(f"{again} is SERVING again, at {len(self.made())} images")
        self.finished(running)
        self.same("mvc", expected)

    def made(self) -> set[str]:
        """Returns the names of all images that the pods made."""
        return generated(self.store)

    def nothing_twice(self) -> None:
        """Raises SystemExit if the pods made other images than the embedded runs, or more."""
        if self.made() != generated(self.own):
            raise SystemExit("the stores hold different images: some were made twice")
        self.seen(f"both stores hold the same {len(self.made())} images: none was made twice")

    def same(self, method: str, expected: dict[str, str]) -> None:
        found = digests(self.folder / f"pods-{method}")
        if found != expected:
            names = sorted({*found, *expected})
            odd = [name for name in names if found.get(name) != expected.get(name)]
            raise SystemExit(f"{len(odd)} of {len(expected)} files differ: {', '.join(odd[:10])}")
        self.seen(f"{method}: {len(found)} files, all byte for byte those of the embedded run")

    def augment(self, method: str, expected: dict[str, str]) -> None:
        command = self.command(method, f"pods-{method}", *self.outside())
        self.finished(self.variegate.start(*command))
        self.same(method, expected)

    def train(self) -> None:
        command = [
            "train", "store:train", "--test", "store:test", "--synthetic", self.folder / "pods-mvc",
            "--train-steps", "20", "--json", "--trainer", self.six.address("trainer"),
            *self.outside(),
        ]  # fmt: skip
        self.finished(self.variegate.start(*command))
        self.seen("classifiers trained without and with them")

    def memory(self) -> None:
        for name in SERVICES:
            words = ["stats", "--no-stream", "--format", "{{.MemUsage}}", self.six.container(name)]
            self.seen(f"memory of {name}: {podman(*words)}")

    def end(self) -> None:
        for name in SERVICES:
            code, seconds = self.six.terminate(name)
            self.seen(f"{name} ended by SIGTERM with {code} in {seconds:.1f} s")
            if code:
                raise SystemExit(f"{name} ended with {code}:\n{self.six.log(name)}")

    def still(self, running: subprocess.Popen) -> None:
        """Raises SystemExit if the command has ended."""
        if running.poll() is not None:
            out, err = running.communicate()
            raise SystemExit(f"the command ended too early: {out}{err[-3000:]}")

    def finished(self, running: subprocess.Popen) -> None:
        out, err = running.communicate(timeout=1200)
        if running.returncode:
            raise SystemExit(f"the command ended with {running.returncode}: {out}{err[-3000:]}")


def digests(out: Path) -> dict[str, str]:
    """Returns the digest of every file of an output: images, manifest and lineage."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def generated(store: Path) -> set[str]:
    """Returns the names of what was generated into a store."""
    return set(open_store(f"file://{store}").list("generated/"))


if __name__ == "__main__":
    main()
