"""A real Prometheus for tests, and promtool. `make manifests` puts both into .prometheus."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.k8s.rendered import ROOT
from tests.tests_ports import free_port


def program(name):
    """Returns the path of prometheus or promtool."""
    path = os.pathsep.join([str(ROOT / ".prometheus/bin"), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    assert found, f"{name} is not installed; run `make manifests`"
    return found


def promtool(*arguments):
    """Runs promtool; returns its exit code and all that it said."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


class Prometheus:
    """A running server that reads metrics every second."""

    def __init__(self, url):
        self._url = url

    def query(self, expression):
        """Returns the result of an expression. Raises HTTPError, with what is wrong, for a bad
        one."""
        asked = urlencode({"query": expression})
        with urlopen(f"{self._url}/api/v1/query?{asked}", timeout=20) as answer:
            return json.loads(answer.read())["data"]["result"]

    def until(self, expression):
        """Waits until an expression has a result, and returns that."""
        end = time.monotonic() + 30
        while not (found := self.query(expression)):
            assert time.monotonic() < end, expression
            time.sleep(0.1)
        return found


@contextmanager
def reading(folder, ports):
    """Runs a Prometheus that reads 127.0.0.1 at each port, with the labels that a PodMonitor gives;
    `ports` are by pod."""
    port = free_port()
    targets = [
        {"targets": [f"127.0.0.1:{number}"], "labels": {"namespace": "variegate", "pod": pod}}
        for pod, number in ports.items()
    ]
    job = {"job_name": "variegate", "scrape_interval": "1s", "static_configs": targets}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    command = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        _wait_for(process, found, folder)
        yield found
    finally:
        process.kill()
        process.wait()


def _wait_for(process, prometheus, folder):
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            prometheus.query("vector(1)")
            return
        except OSError:
            assert time.monotonic() < end, (folder / "prometheus.log").read_text()
            time.sleep(0.1)
